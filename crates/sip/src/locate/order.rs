//! The order of SRV records (RFC 2782).

use words::Chance;
use words::dns::Srv;

/// Lowest priority first; among equals each next one is drawn, with a chance that its weight gives it.
pub(super) fn by_priority_and_weight<'a>(mut records: Vec<&'a Srv>, chance: &mut Chance) -> Vec<&'a Srv> {
    // Those without a weight stand first, so that they have their small chance (RFC 2782, "Weight"); the rest is put in
    // an order of its own, since DNS servers turn theirs at each answer and a seed is to give one list.
    records.sort_by(|a, b| {
        let key = |srv: &Srv| (srv.priority, srv.weight, srv.port);
        key(a).cmp(&key(b)).then_with(|| a.target.cmp(&b.target))
    });
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|srv| srv.priority) {
        let equals = records.iter().take_while(|srv| srv.priority == priority).count();
        let sum: u64 = records[..equals].iter().map(|srv| u64::from(srv.weight)).sum();
        let drawn = chance.below(sum + 1);
        let mut running = 0;
        let mut reaches = |srv: &&&Srv| {
            running += u64::from(srv.weight);
            running >= drawn
        };
        let at = records[..equals].iter().take_while(|srv| !reaches(srv)).count();
        ordered.push(records.remove(at));
    }
    ordered
}
