//! One device of several, by its name (RFC 5627 §5.5, §6.1).

use crate::switch::Switch;
use registrar::{Device, User};
use words::{AccountId, Time, UserId};

/// Whom a URI of an account means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// Whose extension.
    pub(crate) extension: String,
    /// Which of his devices; `None`: all.
    pub(crate) gr: Option<String>,
    /// The name was a temporary one, which tells nobody whose it is: whose it was made for.
    pub(crate) temporary: Option<UserId>,
}

impl Meant {
    /// Whether it is a user. An extension may have got another one since its name was made.
    pub(crate) fn is(&self, user: &User) -> bool {
        self.temporary.is_none_or(|meant| meant == user.id)
    }

    /// Whether it is a device of that user.
    pub(crate) fn has(&self, device: &Device<'_>) -> bool {
        is_named(self.gr.as_deref(), device)
    }
}

/// Whether a device has this name, where one is named.
pub(crate) fn is_named(gr: Option<&str>, device: &Device<'_>) -> bool {
    gr.is_none_or(|gr| device.instance.is_some_and(|one| registrar::gr_of(one).eq_ignore_ascii_case(gr)))
}

impl Switch {
    /// Whom a URI means with this user part and this `gr`, as far as it is of the account; `None`: a GRUU of nobody.
    pub(crate) fn meant(&self, account: AccountId, dialled: &str, gr: Option<&str>, now: Time) -> Option<Meant> {
        if gr != Some("") {
            let (extension, gr) = (dialled.to_owned(), gr.map(str::to_owned));
            return Some(Meant { extension, gr, temporary: None });
        }
        let named = self.registrar.temporary(dialled, now).filter(|named| named.account == account)?;
        Some(Meant { extension: named.extension, gr: Some(named.gr), temporary: Some(named.user) })
    }
}

/// The `gr` of a URI; empty in a temporary GRUU.
pub(crate) fn gr_of(uri: &str) -> Option<&str> {
    sip::Uri::parse(uri).ok()?.param("gr")
}
