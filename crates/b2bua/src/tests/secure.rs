//! A leg that began with RTP/SAVP stays encrypted, whatever it is asked for in the middle of the call.

use super::kit::*;
use crate::Step;
use media::command::{Keys, MediaCommand};
use sip::{HeaderName, Method};
use words::EndCause;

const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";

fn savp(phone: usize, direction: &str) -> String {
    sdp_with(phone, direction).replace("RTP/AVP", "RTP/SAVP") + KEY
}

/// The keys that the relay was told last for an end: `None` when never, or taken away.
fn keys(w: &World, n: u16) -> Option<Keys> {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Rekey { end, keys, .. } if end.n == n => Some(keys.as_deref().cloned()),
        _ => None,
    };
    w.media.iter().rev().find_map(of).flatten()
}

/// Whoever is called must.
fn must_encrypt(w: &mut World) {
    for step in &mut w.plan {
        if let Step::Dial { targets, .. } = step {
            for target in targets {
                target.srtp = words::Srtp::Required;
            }
        }
    }
}

#[test]
fn plain_audio_for_an_encrypted_leg_is_refused_and_the_call_goes_on() {
    for (encrypted, plain) in [(A, B), (B, A)] {
        for method in [Method::Invite, Method::Update] {
            let mut w = World::new().rings(&[B]);
            let described = |phone: usize| if phone == encrypted { savp(phone, "sendrecv") } else { sdp(phone) };
            if encrypted == B {
                must_encrypt(&mut w);
            }
            w.invite(A, "1001", Some(&described(A)));
            let asked = w.asked(B, Method::Invite);
            assert_eq!(body(&asked.message).contains("RTP/SAVP"), encrypted == B, "{}", body(&asked.message));
            w.answer_with(B, &asked, 200, &[(HeaderName::Allow, "INVITE, ACK, BYE, UPDATE")], Some(&described(B)));
            w.acked(B);
            w.settle(B, &asked);
            let caller = w.caller(A);
            w.ack(A, &caller, None);
            let callee = sip::Dialog::uas(&asked.message, &format!("phone{B}")).unwrap();
            let before = keys(&w, encrypted as u16).expect("it is encrypted");
            let mut dialog = if encrypted == A { caller } else { callee };
            let rekeyed = w.media.len();

            w.send(encrypted, &mut dialog, method, Some(&sdp(encrypted)));
            let refused = w.got(encrypted, 488);
            assert!(body(&refused).is_empty() || !body(&refused).contains("RTP/AVP"), "{refused:?}");
            if method == Method::Invite {
                // Its transaction sends the ACK itself.
                assert!(w.try_asked(plain, Method::Invite).is_none(), "the other side is not bothered");
            }
            let told =
                w.media[rekeyed..].iter().filter(|command| matches!(command, MediaCommand::Rekey { .. })).count();
            assert_eq!((told, keys(&w, encrypted as u16).as_ref()), (0, Some(&before)));
            // With its key it may change what it likes.
            w.send(encrypted, &mut dialog, Method::Invite, Some(&savp(encrypted, "sendonly")));
            let asked = w.asked(plain, Method::Invite);
            assert!(!body(&asked.message).contains("RTP/SAVP") && body(&asked.message).contains("a=sendonly"));
            w.answer(plain, &asked, 200, Some(&sdp_with(plain, "recvonly")));
            w.settle(plain, &asked);
            assert!(body(&w.got(encrypted, 200)).contains("RTP/SAVP"));
            w.ack(encrypted, &dialog, None);
            assert_eq!(keys(&w, encrypted as u16), Some(before));
            w.send(encrypted, &mut dialog, Method::Bye, None);
            w.asked(plain, Method::Bye);
            assert_eq!(w.ends(), [EndCause::Normal]);
        }
    }
}
