//! The template: an archive of a freshly made data directory, kept between runs, because unpacking it takes
//! a tenth of the time of `initdb`. One file, so that it is there whole or not at all, whoever cleans up around it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Programs;
use crate::account::Account;
use crate::layout::{self, Layout};

/// Part of the template's name: to be counted up when `leash.sh` calls `initdb` differently.
const FORM: u32 = 1;

/// What this start does about the template.
#[derive(Debug)]
pub(crate) enum Template {
    /// Nothing: the data are to be kept, or the template's name is taken by something that is not ours.
    Unused,
    /// The data directory is unpacked from this file.
    Unpack(PathBuf),
    /// The leash writes a new one to `draft`, which then takes its place.
    Make {
        /// A file in the server's own directory.
        draft: PathBuf,
        /// Where other servers look for it.
        place: PathBuf,
    },
}

impl Template {
    /// The template for data made by `programs` as `account` in `layout`.
    pub(crate) fn choose(programs: &Programs, account: &Account, layout: &Layout) -> Self {
        let (false, Some(scratch)) = (layout.kept, &layout.scratch) else {
            return Self::Unused;
        };
        let version = programs.version(account);
        // The same version from elsewhere may be built otherwise.
        let made_by = layout::digest(format!("{FORM} {version} {}", programs.dir().display()).as_bytes());
        let number = version.split(' ').nth(2).unwrap_or("unknown").replace('/', "-");
        let name = format!("identity-services-initdb-{number}-{}-{made_by}.tar", account.uid);
        let place = scratch.with_file_name(name);
        match place.symlink_metadata() {
            Err(_) => Self::Make {
                draft: scratch.join("template.tar"),
                place,
            },
            // Everybody may write where this lies. What another user has put there is not touched.
            Ok(about) if about.is_file() && about.uid() == account.uid && about.mode() & 0o777 == 0o600 => {
                Self::Unpack(place)
            }
            Ok(_) => Self::Unused,
        }
    }

    /// The archive to unpack.
    pub(crate) fn to_unpack(&self) -> Option<&Path> {
        match self {
            Self::Unpack(place) => Some(place),
            Self::Unused | Self::Make { .. } => None,
        }
    }

    /// The archive to write.
    pub(crate) fn to_save(&self) -> Option<&Path> {
        match self {
            Self::Make { draft, .. } => Some(draft),
            Self::Unused | Self::Unpack(_) => None,
        }
    }

    /// Called when the server is up: the draft, complete by now, becomes the template. That it may not is no loss.
    pub(crate) fn publish(&self) {
        if let Self::Make { draft, place } = self {
            let _ = std::fs::rename(draft, place);
        }
    }
}
