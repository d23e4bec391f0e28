//! Methods and paths to handlers' names. PURE: decides, and calls nothing.

use std::borrow::Cow;

use hyper::Method;
use matchit::Router;

use super::query::percent_decode;

/// A table of routes; `T` says what a route stands for.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    router: Router<Vec<(Method, T)>>,
}

/// A route that a request matched.
#[derive(Debug)]
pub struct Found<'t, 'p, T> {
    /// What the route stands for.
    pub route: &'t T,
    params: matchit::Params<'t, 'p>,
}

impl<T> Found<'_, '_, T> {
    /// Returns a path parameter, percent-decoded; empty if the route has no such parameter.
    pub fn param(&self, name: &str) -> Cow<'_, str> {
        percent_decode(self.raw_param(name))
    }

    /// Returns a path parameter as it was sent.
    pub fn raw_param(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }
}

/// Why no route matched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Nothing is served at this path.
    #[error("no such resource")]
    NotFound,
    /// The path is served, by other methods.
    #[error("this path takes {allow}")]
    MethodNotAllowed {
        /// The methods, as the header `Allow` lists them.
        allow: String,
    },
}

impl<T: Clone> RouteTable<T> {
    /// Builds the table. Paths are written as `/topics/{topic}`; `{*rest}` at the end takes the rest of the path, with its
    /// slashes.
    ///
    /// # Panics
    /// If two paths conflict, or a method stands twice for one path: our own mistake, found by the first test that
    /// builds the table.
    #[expect(
        clippy::panic,
        reason = "a table of constants is right or wrong for every request"
    )]
    pub fn new(routes: &[(Method, &str, T)]) -> Self {
        let mut by_path: Vec<(&str, Vec<(Method, T)>)> = Vec::new();
        for (method, path, route) in routes {
            match by_path.iter_mut().find(|(known, _)| known == path) {
                None => by_path.push((path, vec![(method.clone(), route.clone())])),
                Some((_, methods)) => {
                    assert!(
                        methods.iter().all(|(m, _)| m != method),
                        "{method} {path} stands twice"
                    );
                    methods.push((method.clone(), route.clone()));
                }
            }
        }
        let mut paths = Router::new();
        for (path, methods) in by_path {
            if let Err(error) = paths.insert(path, methods) {
                panic!("route {path}: {error}");
            }
        }
        Self { router: paths }
    }

    /// Finds the route of a request. HEAD is served wherever GET is. A trailing slash makes another path.
    ///
    /// # Errors
    /// [`RouteError`]: 404, or 405 with the methods that the path takes.
    pub fn find<'t, 'p>(
        &'t self,
        method: &Method,
        path: &'p str,
    ) -> Result<Found<'t, 'p, T>, RouteError> {
        let matched = self
            .router
            .at(path)
            .map_err(|_no_match| RouteError::NotFound)?;
        let lookup = |wanted: &Method| {
            matched
                .value
                .iter()
                .find_map(|(method, route)| (method == wanted).then_some(route))
        };
        let route = match (lookup(method), method) {
            (None, &Method::HEAD) => lookup(&Method::GET),
            (found, _) => found,
        };
        match route {
            Some(route) => Ok(Found {
                route,
                params: matched.params,
            }),
            None => Err(RouteError::MethodNotAllowed {
                allow: allow(matched.value),
            }),
        }
    }
}

fn allow<T>(methods: &[(Method, T)]) -> String {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Name {
        List,
        Create,
        Get,
        Retry,
        Publish,
    }

    fn table() -> RouteTable<Name> {
        RouteTable::new(&[
            (Method::GET, "/topics", Name::List),
            (Method::POST, "/topics", Name::Create),
            (Method::GET, "/topics/{topic}", Name::Get),
            (Method::POST, "/topics/{topic}/dlq/retry", Name::Retry),
            (Method::POST, "/publish/{*destination}", Name::Publish),
        ])
    }

    #[test]
    fn routes_by_method_and_path() {
        let not_found = Err(RouteError::NotFound);
        let not_allowed = |allow: &str| {
            Err(RouteError::MethodNotAllowed {
                allow: allow.to_owned(),
            })
        };
        for (method, path, expected) in [
            (Method::GET, "/topics", Ok(Name::List)),
            (Method::HEAD, "/topics", Ok(Name::List)),
            (Method::POST, "/topics", Ok(Name::Create)),
            (Method::GET, "/topics/a", Ok(Name::Get)),
            (Method::POST, "/topics/a/dlq/retry", Ok(Name::Retry)),
            (Method::GET, "/", not_found.clone()),
            (Method::GET, "", not_found.clone()),
            (Method::GET, "/topics/", not_found.clone()),
            (Method::GET, "/topics/a/", not_found.clone()),
            (Method::GET, "/Topics", not_found.clone()),
            (Method::GET, "/topics/a/b", not_found),
            (Method::DELETE, "/topics", not_allowed("GET, HEAD, POST")),
            (Method::OPTIONS, "/topics/a", not_allowed("GET, HEAD")),
            (Method::HEAD, "/topics/a/dlq/retry", not_allowed("POST")),
        ] {
            let table = table();
            let found = table.find(&method, path).map(|found| *found.route);
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn parameters_are_decoded_and_the_rest_keeps_its_slashes() {
        let table = table();
        let found = table.find(&Method::GET, "/topics/a%20b%2Fc").unwrap();
        assert_eq!(found.param("topic"), "a b/c");
        assert_eq!(found.raw_param("topic"), "a%20b%2Fc");
        assert_eq!(found.param("other"), "");
        let found = table
            .find(&Method::POST, "/publish/https://host//a%2Fb")
            .unwrap();
        assert_eq!(found.raw_param("destination"), "https://host//a%2Fb");
    }

    #[test]
    #[should_panic(expected = "GET /a stands twice")]
    fn a_doubled_route_is_our_own_mistake() {
        RouteTable::new(&[(Method::GET, "/a", 1), (Method::GET, "/a", 2)]);
    }
}
