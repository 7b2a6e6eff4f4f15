//! Sounds that the exchange makes itself: a frame each 20 ms for every end that hears one.

use media::command::Sound;
use media::rtp::{HEADER_BYTES, RtpHeader};
use std::time::Duration;
use voice::{FRAME_SAMPLES, Law, Ringback, Source, Tone};
use words::{Chance, Time};

/// How long a frame lasts.
pub(crate) const FRAME: Duration = Duration::from_millis(20);

/// A packet of one frame. Units: bytes.
pub(crate) const PACKET_BYTES: usize = HEADER_BYTES + FRAME_SAMPLES;

/// The sounds of one worker, all in step.
#[derive(Debug)]
pub(crate) struct Sounds {
    players: Vec<Player>,
    next: Option<Time>,
    chance: Chance,
}

#[derive(Debug)]
struct Player {
    slot: u32,
    sound: Sound,
    source: Source,
    header: RtpHeader,
}

impl Sounds {
    /// No sound yet.
    pub(crate) fn new(chance: Chance) -> Self {
        Sounds { players: Vec::new(), next: None, chance }
    }

    /// Begins a sound, or changes it within the same stream. One that is heard already goes on.
    pub(crate) fn play(&mut self, slot: u32, sound: Sound, payload_type: u8, now: Time) {
        let law = if payload_type == PCMA { Law::A } else { Law::Mu };
        let source = match sound {
            Sound::Ringback => Source::Ringback(Ringback::new(law)),
            Sound::Tone { hz, level_dbm0 } => Source::Tone(Tone::new(hz, level_dbm0, law)),
        };
        match self.players.iter_mut().find(|player| player.slot == slot) {
            Some(player) if player.sound == sound && player.header.payload_type == payload_type => {}
            Some(player) => {
                (player.sound, player.source) = (sound, source);
                (player.header.payload_type, player.header.marker) = (payload_type, true);
            }
            None => {
                let sequence = self.chance.u32() as u16;
                let (timestamp, ssrc) = (self.chance.u32(), self.chance.u32());
                let header = RtpHeader { marker: true, payload_type, sequence, timestamp, ssrc };
                self.players.push(Player { slot, sound, source, header });
            }
        }
        self.next.get_or_insert(now);
    }

    /// Ends a sound.
    pub(crate) fn quiet(&mut self, slot: u32) {
        self.players.retain(|player| player.slot != slot);
        if self.players.is_empty() {
            self.next = None;
        }
    }

    /// When [`Sounds::packets`] is due; `None` while there is silence.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.next
    }

    /// Makes the packet of each player that is due at `now`. After a long delay frames are left out, not made up for.
    pub(crate) fn packets(&mut self, now: Time, mut emit: impl FnMut(u32, &[u8; PACKET_BYTES])) {
        let Some(due) = self.next.filter(|&due| due <= now) else { return };
        let next = due + FRAME;
        self.next = Some(if now.since(next) > LATE_MAX { now + FRAME } else { next });
        let mut packet = [0; PACKET_BYTES];
        for player in &mut self.players {
            let (head, rest) = packet.split_at_mut(HEADER_BYTES);
            head.copy_from_slice(&player.header.print());
            if let Some(frame) = rest.first_chunk_mut() {
                player.source.next_frame(frame);
            }
            player.header.marker = false;
            player.header.sequence = player.header.sequence.wrapping_add(1);
            player.header.timestamp = player.header.timestamp.wrapping_add(FRAME_SAMPLES as u32);
            emit(player.slot, &packet);
        }
    }
}

const PCMA: u8 = 8;
const LATE_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use media::rtp::RtpView;
    use words::Seed;

    const TONE: Sound = Sound::Tone { hz: 440, level_dbm0: -10 };

    fn sounds() -> Sounds {
        Sounds::new(Chance::new(Seed::from_number(1)))
    }

    fn heard(sounds: &mut Sounds, now: Time) -> Vec<(u32, u8, u16, u32, bool)> {
        let mut all = Vec::new();
        sounds.packets(now, |slot, packet| {
            let view = RtpView::parse(packet).unwrap();
            all.push((slot, view.payload_type(), view.sequence(), view.timestamp(), view.marker()));
        });
        all
    }

    #[test]
    fn frames_follow_each_other_in_number_and_time() {
        let mut sounds = sounds();
        sounds.play(7, TONE, 0, Time::ZERO);
        let first = heard(&mut sounds, Time::ZERO)[0];
        assert_eq!(heard(&mut sounds, Time::from_millis(19)), []);
        sounds.play(7, TONE, 0, Time::from_millis(19));
        let second = heard(&mut sounds, Time::from_millis(20))[0];
        assert_eq!((first.0, first.1, first.4), (7, 0, true));
        assert_eq!(second, (7, 0, first.2.wrapping_add(1), first.3.wrapping_add(160), false));
        sounds.play(7, Sound::Ringback, 8, Time::from_millis(30));
        let third = heard(&mut sounds, Time::from_millis(40))[0];
        assert_eq!(third, (7, 8, first.2.wrapping_add(2), first.3.wrapping_add(320), true));
        sounds.quiet(7);
        assert_eq!(sounds.next_at(), None);
    }

    #[test]
    fn a_short_delay_is_made_up_for_and_a_long_one_is_not() {
        let mut sounds = sounds();
        sounds.play(1, TONE, 0, Time::ZERO);
        heard(&mut sounds, Time::ZERO);
        assert_eq!(heard(&mut sounds, Time::from_millis(70)).len(), 1);
        assert_eq!(sounds.next_at(), Some(Time::from_millis(40)));
        heard(&mut sounds, Time::from_millis(900));
        assert_eq!(sounds.next_at(), Some(Time::from_millis(920)));
    }
}
