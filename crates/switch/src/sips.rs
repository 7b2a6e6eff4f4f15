//! Calls to a `sips` URI: they go to nobody who would be reached in clear (RFC 3261 §26.2.2, §26.4.4).

use b2bua::{DialTarget, Step};
use sip::Target;
use words::{EndCause, Transport};

/// Steps as they are for such a call.
pub(crate) fn secured(steps: Vec<Step>) -> Vec<Step> {
    steps.into_iter().map(secured_step).collect()
}

fn secured_step(step: Step) -> Step {
    let Step::Dial { targets, ring_for } = step else { return step };
    let targets = secured_targets(targets);
    if targets.is_empty() {
        let reason = "Temporarily Unavailable: nobody there is reached over TLS".to_owned();
        return Step::Reject { status: 480, reason, cause: EndCause::Unavailable };
    }
    Step::Dial { targets, ring_for }
}

/// Those that are reached over TLS, by `sips` URIs.
pub(crate) fn secured_targets(targets: Vec<DialTarget>) -> Vec<DialTarget> {
    targets.into_iter().filter_map(secured_target).collect()
}

fn secured_target(mut target: DialTarget) -> Option<DialTarget> {
    let instead = target.instead.take().and_then(|other| secured_target(*other));
    if !transport(&target.target).is_secure() {
        return instead;
    }
    target.instead = instead.map(Box::new);
    target.request_uri = as_sips(target.request_uri);
    target.to_uri = as_sips(target.to_uri);
    if let Some(servers) = &mut target.servers {
        servers.others.retain(|other| transport(other).is_secure());
    }
    Some(target)
}

const fn transport(target: &Target) -> Transport {
    match target {
        Target::Flow(flow) => flow.transport,
        Target::Dial { transport, .. } => *transport,
    }
}

fn as_sips(uri: String) -> String {
    match uri.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sip") => format!("sips:{rest}"),
        Some(_) | None => uri,
    }
}
