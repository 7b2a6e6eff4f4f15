//! Where requests inside the dialog of a static peer go. A peer may answer by a server behind the one that was called, and
//! say so by Contact or Record-Route: from then on that one is spoken to (RFC 3261 §12.2.1.1), as a proxy that did not
//! record itself passes nothing on. What a phone says leads nowhere.
//!
//! Only an address is followed, and one that can be another server of the same site: none of ours, of the same family, and
//! like the peer's own public, private or of loopback, as a private address of who is seen at a public one is hidden
//! behind it; and so is one of another private network, as a container has. What is spoken to over TLS stays: nobody else could prove to be that peer.

use crate::desk::is_public;
use crate::leg::Leg;
use sip::{Dialog, Scheme, Target, Uri};
use std::net::{IpAddr, SocketAddr};
use words::{ConnectionId, Flow, Transport};

impl Leg {
    /// Where requests inside its dialog go.
    pub(crate) fn way(&self) -> Target {
        self.dialog.as_deref().map_or(self.target, |dialog| self.way_of(dialog))
    }

    /// The same for one of its dialogs.
    pub(crate) fn way_of(&self, dialog: &Dialog) -> Target {
        let Some(remote) = self.hop_of(dialog) else { return self.target };
        let (transport, listener, local) = match self.target {
            Target::Flow(Flow { transport, listener, local, .. }) | Target::Dial { transport, listener, local, .. } => {
                (transport, listener, local)
            }
        };
        if transport == Transport::Udp {
            return Target::Flow(Flow { transport, listener, connection: ConnectionId::NONE, local, remote });
        }
        Target::Dial { transport, listener, local, remote, peer: None }
    }

    /// The server behind its peer that its dialog leads to: from there it may speak, too.
    pub(crate) fn hop(&self) -> Option<SocketAddr> {
        self.dialog.as_deref().and_then(|dialog| self.hop_of(dialog))
    }

    fn hop_of(&self, dialog: &Dialog) -> Option<SocketAddr> {
        self.party.peer?;
        let (transport, local, remote) = match self.target {
            Target::Flow(flow) => (flow.transport, flow.local, flow.remote),
            Target::Dial { transport, local, remote, .. } => (transport, local, remote),
        };
        let uri = Uri::parse(dialog.next_hop_uri()).ok()?;
        let alike = uri.param("transport").is_none_or(|named| named.eq_ignore_ascii_case(transport.uri_token()));
        let plain = matches!(transport, Transport::Udp | Transport::Tcp) && uri.scheme == Scheme::Sip;
        if !alike || !plain || uri.param("maddr").is_some() {
            return None;
        }
        let named = SocketAddr::new(uri.host_ip()?.to_canonical(), uri.port.unwrap_or(transport.default_port()));
        let (ours, theirs) = (local.ip().to_canonical(), remote.ip().to_canonical());
        (named.ip() != theirs && named.ip() != ours && named.port() != 0 && are_alike(named.ip(), theirs))
            .then_some(named)
    }
}

/// Whether two addresses can be of servers of one site.
fn are_alike(named: IpAddr, known: IpAddr) -> bool {
    let nobody = named.is_unspecified() || named.is_multicast() || named == IpAddr::from([255; 4]);
    let kind = |ip: IpAddr| (ip.is_ipv4(), is_public(ip), ip.is_loopback(), is_of_link(ip));
    !nobody && kind(named) == kind(known) && (is_public(named) || network(named) == network(known))
}

/// The first bits of a private address, which the networks of one site have in common as a rule: 16 of IPv4, 48 of IPv6.
fn network(ip: IpAddr) -> [u16; 3] {
    match ip {
        IpAddr::V4(ip) => [u16::from_be_bytes([ip.octets()[0], ip.octets()[1]]), 0, 0],
        IpAddr::V6(ip) => [ip.segments()[0], ip.segments()[1], ip.segments()[2]],
    }
}

/// Whether an address counts on its own cable alone.
fn is_of_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::LegState;
    use crate::tag::Tag;
    use words::{Party, PeerId};

    fn dialog(target: &str, route: &[&str]) -> Dialog {
        Dialog {
            call_id: "c".into(),
            local_tag: "a".into(),
            remote_tag: "b".into(),
            local: "<sip:a@h>;tag=a".into(),
            remote: "<sip:b@h>;tag=b".into(),
            remote_target: target.into(),
            route_set: route.iter().map(|&hop| hop.to_owned()).collect(),
            local_cseq: 1,
            remote_cseq: None,
            secure: false,
        }
    }

    /// Where requests go on the leg of a peer that was called there.
    fn hop(transport: Transport, called: &str, target: &str, route: &[&str]) -> Option<String> {
        let local = if called.starts_with('[') { "[2001:db8::1]:5060" } else { "192.0.2.1:5060" };
        let (local, remote) = (local.parse().unwrap(), called.parse().unwrap());
        let to = Target::Dial { transport, listener: 0, local, remote, peer: None };
        let flow = Flow { transport, listener: 0, connection: ConnectionId::NONE, local, remote };
        let party = Party { peer: Some(PeerId(1)), ..Party::default() };
        let tag = Tag { shard: 0, slot: 0, leg: 1, chance: 1 };
        let mut leg = Leg::new(1, LegState::Confirmed, tag, to, flow, party);
        leg.dialog = Some(Box::new(dialog(target, route)));
        let hop = leg.hop();
        let reached = match leg.way() {
            Target::Flow(flow) => flow.remote,
            Target::Dial { remote, .. } => remote,
        };
        assert_eq!(reached, hop.unwrap_or(remote));
        // A phone leads nowhere.
        leg.party.peer = None;
        assert_eq!(leg.hop(), None);
        hop.map(|hop| hop.to_string())
    }

    #[test]
    fn a_peer_names_its_server() {
        let udp = |target: &str, route: &[&str]| hop(Transport::Udp, "198.18.0.2:5060", target, route);
        assert_eq!(udp("sip:x@198.18.0.9:5070", &[]).as_deref(), Some("198.18.0.9:5070"));
        assert_eq!(udp("sip:198.18.0.9", &[]).as_deref(), Some("198.18.0.9:5060"));
        assert_eq!(udp("sip:x@10.0.0.9", &["<sip:198.18.0.3;lr>"]).as_deref(), Some("198.18.0.3:5060"));
        // Who stays in the way is the next hop, whatever is behind it.
        assert_eq!(udp("sip:x@198.18.0.9", &["<sip:198.18.0.2;lr>"]), None);
        let tcp = |target: &str| hop(Transport::Tcp, "10.0.0.2:5060", target, &[]);
        assert_eq!(tcp("sip:x@10.0.0.9;transport=tcp").as_deref(), Some("10.0.0.9:5060"));
        assert_eq!(
            hop(Transport::Udp, "[2001:db8:1::2]:5060", "sip:x@[2001:db8:1::9]", &[]).as_deref(),
            Some("[2001:db8:1::9]:5060")
        );
    }

    #[test]
    fn what_cannot_be_another_server_of_the_peer_is_not_followed() {
        let others = [
            "sip:x@10.0.0.9",
            "sip:x@127.0.0.1",
            "sip:x@169.254.169.254",
            "sip:x@0.0.0.0",
            "sip:x@239.1.1.1",
            "sip:x@255.255.255.255",
            "sip:x@192.0.2.1:5080",
            "sip:x@198.18.0.9:0",
            "sip:x@198.18.0.9;transport=tcp",
            "sip:x@198.18.0.9;maddr=198.18.0.7",
            "sips:x@198.18.0.9",
            "sip:x@[2001:db8::9]",
            "sip:x@media.example",
            "tel:+123",
        ];
        for target in others {
            assert_eq!(hop(Transport::Udp, "198.18.0.2:5060", target, &[]), None, "{target}");
        }
        assert_eq!(hop(Transport::Tls, "198.18.0.2:5061", "sip:x@198.18.0.9;transport=tls", &[]), None);
        assert_eq!(hop(Transport::Udp, "10.0.0.2:5060", "sip:x@198.18.0.9", &[]), None);
        // A container behind the host that we see.
        assert_eq!(hop(Transport::Udp, "192.168.1.5:5060", "sip:x@172.17.0.2:5060", &[]), None);
        assert_eq!(hop(Transport::Udp, "10.0.1.5:5060", "sip:x@10.0.9.2:5060", &[]).as_deref(), Some("10.0.9.2:5060"));
    }
}
