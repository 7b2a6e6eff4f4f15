//! Users as the core uses them: who they are, what proves it, and how their devices are treated.

use serde::{Deserialize, Serialize};
use sip::digest::{Algorithm, Ha1};
use words::{AccountId, Srtp, UserId};

/// An extension with its credentials. The directory hands out whole ones; the core never changes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Whose it is.
    pub account: AccountId,
    /// Its id, unique on the server.
    pub id: UserId,
    /// What others dial, unique in the account.
    pub extension: String,
    /// The user name of its credentials, unique on the server: a phone that knows only our address is found by it.
    pub auth_user: String,
    /// The realm that the stored hashes were made for: the account's, fixed when the account was made.
    pub realm: String,
    /// The hashes of user name, realm and password (RFC 7616 §3.4.2); the password itself is not kept.
    pub ha1: Ha1,
    /// Which algorithms its devices are offered.
    pub algorithms: AlgorithmPolicy,
    /// The name shown to those it calls; empty when none.
    pub display_name: String,
    /// Whether it may register and call.
    pub enabled: bool,
    /// Where its devices sit.
    pub nat: NatPolicy,
    /// Whether their media are to be encrypted.
    #[serde(default)]
    pub srtp: Srtp,
}

/// Which digest algorithms a device is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlgorithmPolicy {
    /// MD5, then SHA-256, then SHA-512-256: old devices give up on what they read first.
    #[default]
    All,
    /// MD5 only, for devices that stumble over a second challenge.
    Md5Only,
    /// SHA-256 only.
    Sha256Only,
}

impl AlgorithmPolicy {
    /// What is offered, in the order of the challenges (RFC 8760 §2.4 leaves the order to us).
    pub const fn offered(self) -> &'static [Algorithm] {
        match self {
            AlgorithmPolicy::All => &[Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256],
            AlgorithmPolicy::Md5Only => &[Algorithm::Md5],
            AlgorithmPolicy::Sha256Only => &[Algorithm::Sha256],
        }
    }
}

/// What is known about the network of a user's devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NatPolicy {
    /// Behind NAT when the Contact differs from the source of the REGISTER.
    #[default]
    Detect,
    /// Always behind NAT, whatever the device or a helper in its router writes into the Contact.
    Behind,
}
