//! Disks around other disks: a layer says what is below it and what it changes; all else goes through.
//!
//! [`DiskLayer`] has the methods of [`Disk`], and [`FileLayer`] those of [`DiskFile`], each with a body that asks what is
//! below. What implements a layer is a disk, or a file, by that alone. A disk that is to see the files too overrides `open`
//! and puts a layer of its own around each.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, Site};

macro_rules! layer {
    (
        $(#[$doc:meta])*
        $layer:ident over $base:ident {
            $(fn $method:ident($($arg:ident: $type:ty),*) -> $value:ty;)*
        }
    ) => {
        $(#[$doc])*
        pub trait $layer: Debug + Send + Sync {
            /// Returns what everything goes to that the layer does not change.
            fn below(&self) -> &dyn $base;

            $(
                #[doc = concat!("Does what [`", stringify!($base), "::", stringify!($method), "`] says; overridden, what differs.")]
                ///
                /// # Errors
                /// What the layer below answers, or an error of this layer.
                fn $method(&self, $($arg: $type),*) -> io::Result<$value> {
                    self.below().$method($($arg),*)
                }
            )*
        }

        impl<L: $layer> $base for L {
            $(
                fn $method(&self, $($arg: $type),*) -> io::Result<$value> {
                    $layer::$method(self, $($arg),*)
                }
            )*
        }
    };
}

layer! {
    /// A disk around another one.
    DiskLayer over Disk {
        fn open(path: &Path, mode: OpenMode) -> Arc<dyn DiskFile>;
        fn create_dir(path: &Path) -> ();
        fn list(path: &Path) -> Vec<DirEntry>;
        fn rename(from: &Path, to: &Path, site: Site) -> ();
        fn remove(path: &Path) -> ();
        fn sync_dir(path: &Path, site: Site) -> ();
        fn free_bytes(path: &Path) -> u64;
    }
}

layer! {
    /// An open file around another one.
    FileLayer over DiskFile {
        fn read_at(buf: &mut [u8], position: u64) -> usize;
        fn write_all_at(bytes: &[u8], position: u64) -> ();
        fn sync(site: Site) -> ();
        fn forget(position: u64) -> ();
        fn byte_count() -> u64;
        fn set_len(bytes: u64, site: Site) -> ();
        fn allocate(bytes: u64) -> ();
        fn map() -> MappedBytes;
        fn try_lock() -> bool;
    }
}
