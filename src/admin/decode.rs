//! What a request says before a broker is asked: its route, and the letters that it means. PURE.
//!
//! The surface decides with the same functions; here they stand alone, for tests that try any request.

use std::fmt;

use hyper::Method;

use super::letters::{page, selection};
use super::routes::{Served, table};
use super::selection::LetterSelection;
use crate::http::parameters::{Query, json};
use crate::http::{ApiError, RouteTable};
use crate::protocol::selection::{Page, Selection};

const LETTERS: &str = "/admin/v1/topics/any/dead-letters";

/// The routes of the surface, with the query parameters that each takes.
pub struct Routes {
    table: RouteTable<Served>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            table: table(&super::openapi::document()),
        }
    }
}

impl Routes {
    /// Checks a request's method, path and query. Returns whether it is served without a token.
    ///
    /// # Errors
    /// What the surface answers: 404, 405, or 400 for a query parameter that the path does not take.
    pub fn check(&self, method: &Method, path: &str, query: &str) -> Result<bool, ApiError> {
        let found = self.table.find(method, path)?;
        Query::parse(query, &found.route.parameters)?;
        Ok(found.route.is_open)
    }

    /// Decodes the query of a list of dead letters.
    ///
    /// # Errors
    /// [`ApiError`] with status 400.
    pub fn letters_in_query(&self, query: &str) -> Result<(Selection, Page), ApiError> {
        let found = self.table.find(&Method::GET, LETTERS)?;
        let query = Query::parse(query, &found.route.parameters)?;
        Ok((selection(&query)?, page(&query)?))
    }
}

/// Decodes the body of a request to retry or to delete dead letters.
///
/// # Errors
/// [`ApiError`] with status 400.
pub fn letters_in_body(body: &[u8]) -> Result<(Selection, Page), ApiError> {
    let (selection, page, _) = json::<LetterSelection>(body)?.resolve()?;
    Ok((selection, page))
}
