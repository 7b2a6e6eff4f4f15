/* RTP of settled flows, forwarded where it arrives: at tc ingress (tcx or clsact), or in the driver (XDP, opt-in).
 *
 * User space installs a flow when both ends of a link are settled: a record in `flows`, its number in `places` at the port
 * that the flow comes to. A packet stays here if it is RTP (RFC 3550) from that very source with one of the payload types of the description; addresses, ports
 * and, where asked for, the RTP header are rewritten as a B2BUA does. STUN, DTLS, RTCP, telephone events, other sources
 * and whatever else looks unusual goes on to the sockets, untouched.
 *
 * `flow.state` is the one word that both sides write: a packet adds itself to it first, and when the word says that the
 * flow is off the packet goes on to the socket. So the figures that user space takes out of it are exact: each packet is
 * counted either here or there.
 *
 * Before a flow is switched on it is held: its packets go to the socket, and each leaves its mark in that word. User space
 * switches it on only if the mark is that of the packet that it sent last, so none that still waits in the socket, or is on
 * its way there, is overtaken by those behind it.
 *
 * Only what <linux/bpf.h> promises to programmes is used, so one object fits all kernels: from 5.12 on (atomic add that
 * gives the old value), with tcx from 6.6 on.
 */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define BE16(x) __builtin_bswap16(x)
#define BE32(x) __builtin_bswap32(x)
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the object is built for little-endian machines"
#endif

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*bpf_l4_csum_replace)(struct __sk_buff *skb, __u32 at, __u64 from, __u64 to, __u64 flags) =
	(void *)BPF_FUNC_l4_csum_replace;
static long (*bpf_skb_pull_data)(struct __sk_buff *skb, __u32 bytes) = (void *)BPF_FUNC_skb_pull_data;
static long (*bpf_redirect_neigh)(__u32 interface, void *params, int bytes, __u64 flags) =
	(void *)BPF_FUNC_redirect_neigh;
static long (*bpf_redirect)(__u32 interface, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*bpf_fib_lookup)(void *context, struct bpf_fib_lookup *params, int bytes, __u32 flags) =
	(void *)BPF_FUNC_fib_lookup;

/*
 * A flow. The order and sizes are those of `record.rs`. With thousands of flows each packet finds its record far from the
 * processor, so all that a packet of voice needs as a rule is in these 64 bytes; what is needed seldom is in `rest`.
 * Addresses and ports are in network order.
 */
struct flow {
	/* OFF, packets (23 bits), bytes of UDP payload (40 bits) since user space last took them. Or OFF, HELD and a mark. */
	__u64 state;
	/* Packets whose figures below are complete, since the flow was switched on. */
	__u32 done;
	/* When the last packet came. Units: 1,024 ns of CLOCK_MONOTONIC. */
	__u32 last;
	/* Reception as RFC 3550 A.1, A.3 and A.8 have it; the rules are those of `media::stats`. */
	__u32 stream;
	__u32 highest;
	__u32 transit;
	__u32 jitter_x16;
	/* From here on written by user space alone, while nobody is sent here. The last words of addresses, for IPv4 all. */
	__u32 remote;
	__u32 target;
	/* What the RTP header becomes. */
	__u32 ssrc;
	__u32 timestamp_added;
	__u16 sequence_added;
	__u16 remote_port;
	__u16 source_port;
	__u16 target_port;
	/* Our addresses, of those in `sides`: where it comes to, and where it leaves from. */
	__u8 here;
	__u8 out;
	/* What marks it for routers, as it stands in an IP header. */
	__u8 tos;
	__u8 traits;
	__u8 payload_type;
	/* Payload types that stay here and whose timestamps run at the flow's clock; NO_TYPE for none. Others are in `rest`. */
	__u8 types[2];
	/* Written by packets: what is known of the present stream. */
	__u8 known;
};

/* What a packet needs that is not as most are. */
struct rest {
	/* How many packets streams before the present one lost. */
	__u32 lost_before;
	/* How many packets were missing when numbers were missing; `gaps` below: how often that was. */
	__u32 gap_packets;
	__u32 base;
	__u32 expected_after_jump;
	/* What the stream has received is `done` without these: packets of streams before it, and those that do not count. */
	__u32 apart;
	__u32 gaps;
	/* From here on written by user space alone. */
	__u32 clock_hz;
	/* Types from 96 on whose timestamps do not run at `clock_hz`: telephone events, and what nobody knows the clock of. */
	__u32 untimed;
	/* Payload types that stay here: 0 to 31, and from 96 on above them. */
	__u64 types;
	/* What the rewriting of the words below adds to a checksum. */
	__u32 sum;
	__u32 nothing[5];
	/* The first words of addresses of IPv6. */
	__u32 local[3];
	__u32 remote[3];
	__u32 source[3];
	__u32 target[3];
	__u32 nothing_more[4];
};

/* An address of ours, and the interface by which packets leave it; 0: to a socket of this host. Many flows have the same. */
struct side {
	__u32 address;
	__u32 interface;
};

/* Without tcx a programme outlives its process: it lets go when nobody has said for `patience` that somebody is there. */
struct life {
	__u64 beat;
	__u64 patience;
};

struct map {
	__u32 type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
};

/* A way that was just asked for, because asking costs a third of all: true for WAY_LASTS, of this processor alone. */
struct way {
	__u64 until;
	__u32 arrived_by;
	__u32 source;
	__u32 target;
	__u32 interface;
	__u8 to[6];
	__u8 from[6];
	__u32 nothing;
};

/* Each even port (RFC 3550 §11) of each family, two to an element; 0 where no flow comes to. */
struct pair {
	__u32 of[2];
};
#define PLACES (2 * 65536 / 4)
#define SIDES 256
#define WAYS 1024
#define WAY_LASTS 100000000ULL

struct map SEC("maps") places = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct pair), PLACES, 0 };
struct map SEC("maps") flows = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct flow), 1024, BPF_F_MMAPABLE };
struct map SEC("maps") rests = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct rest), 1024, BPF_F_MMAPABLE };
struct map SEC("maps") sides = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct side), SIDES, 0 };
struct map SEC("maps") ways = { BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), sizeof(struct way), WAYS, 0 };
struct map SEC("maps") lives = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct life), 1, 0 };

#define OFF (1ULL << 63)
#define HELD (1ULL << 62)
#define MARKED (1ULL << 61)
#define PACKET (1ULL << 40)
#define REWRITES_HEADER 1
#define REWRITES_TYPE 2
#define REWRITES_SSRC 4
#define IS_IPV6 8
#define BY_DRIVER 16
#define HAS_MORE_TYPES 32
#define HAS_USUAL_CLOCK 64
#define IS_ODD 128
#define NO_TYPE 255
/* What is known of a stream: that there is one, and the transit of a packet. */
#define STREAM 1
#define TRANSIT 2

#define ETHERNET 14
#define IPV4 20
#define IPV6 40
#define UDP 8
#define RTP 12
#define DATAGRAM_BYTES 2048
#define PROTOCOL_UDP 17
#define HOP_LIMIT 64
#define NO_JUMP 0xffffffff
#define DROPOUT_MAX 3000
#define MISORDER_MAX 100
#define LAST_SHIFT 10
#define USUAL_HZ 8000
#define USUAL_TICK_NANOS 125000

/* What tc and XDP do with a packet that is not for us: the next programme, then the socket. */
#define TC_NEXT -1
#define TC_DELIVER 0

struct ipv4 {
	__u8 version_length;
	__u8 tos;
	__u16 length;
	__u16 id;
	__u16 fragment;
	__u8 hops;
	__u8 protocol;
	__u16 check;
	__u32 source;
	__u32 target;
};

struct ipv6 {
	__u8 version_class;
	__u8 class_label;
	__u16 label;
	__u16 length;
	__u8 protocol;
	__u8 hops;
	__u32 source[4];
	__u32 target[4];
};

struct udp {
	__u16 source;
	__u16 target;
	__u16 length;
	__u16 check;
};

struct rtp {
	__u8 first;
	__u8 marker_type;
	__u16 sequence;
	__u32 timestamp;
	__u32 ssrc;
};

/* What a look at a packet found out. */
struct seen {
	struct flow *flow;
	/* Where it leaves from. */
	struct side *out;
	/* Of IPv6. */
	struct rest *rest;
	__u32 index;
	/* What the rewriting of addresses and of ports adds to a checksum. */
	__u32 address_sum;
	__u32 port_sum;
	/* Where UDP begins. */
	__u32 udp_at;
	__u32 is_ipv6;
	__u16 sequence;
	/* Whether its timestamp runs at the flow's clock. */
	__u8 is_timed;
	__u32 timestamp;
	__u32 ssrc;
	__u32 payload_bytes;
};

INLINE __u32 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

/* Whether header, extension and padding fit, as `RtpView::parse` asks for it. */
INLINE int is_rtp(struct rtp *rtp, __u32 bytes, void *end)
{
	__u32 at = RTP, padding = 0;

	if (rtp->first >> 6 != 2 || bytes < RTP)
		return 0;
	if (rtp->first == 0x80)
		return 1;
	at += (rtp->first & 15) * 4;
	if (rtp->first & 0x10) {
		__u16 *words = (void *)rtp + at + 2;

		if ((void *)(words + 1) > end || at + 4 > bytes)
			return 0;
		at += 4 + (__u32)BE16(*words) * 4;
	}
	if (rtp->first & 0x20) {
		__u32 last = bytes - 1;
		__u8 *byte = (void *)rtp + (last & (DATAGRAM_BYTES - 1));

		if ((void *)(byte + 1) > end)
			return 0;
		padding = *byte ? *byte : 1;
	}
	return at + padding <= bytes;
}

INLINE struct side *side(__u8 number)
{
	__u32 index = number;

	return bpf_map_lookup_elem(&sides, &index);
}

/* Whether a payload type stays here, and whether its timestamps run at the flow's clock. */
INLINE int is_ours(struct seen *seen, __u8 type)
{
	struct flow *flow = seen->flow;
	struct rest *rest;

	seen->is_timed = 1;
	if (type == flow->types[0] || type == flow->types[1])
		return 1;
	if (!(flow->traits & HAS_MORE_TYPES))
		return 0;
	rest = bpf_map_lookup_elem(&rests, &seen->index);
	if (!rest)
		return 0;
	if (type < 32)
		return rest->types >> type & 1;
	seen->is_timed = !(rest->untimed >> (type & 31) & 1);
	return type >= 96 && rest->types >> (type - 64) & 1;
}

/* Whether a packet of IPv6 is the flow's, as far as its ports and the ends of its addresses do not say. */
INLINE int is_of(struct rest *rest, struct ipv6 *ip)
{
	for (int n = 0; n < 3; n++) {
		if (rest->local[n] != ip->target[n] || rest->remote[n] != ip->source[n])
			return 0;
	}
	return 1;
}

/* Finds the flow of a packet; 0 when it is not for us. */
INLINE int look(void *data, void *end, struct seen *seen)
{
	__u16 *kind = data + 12;
	struct ipv6 *ip6 = data + ETHERNET;
	struct udp *udp;
	struct rtp *rtp;
	__u32 index, bytes, local, remote, port;
	struct flow *flow;
	struct pair *pair;
	struct side *here;
	__u64 state, sum;

	if (data + ETHERNET + IPV4 + UDP + RTP > end)
		return 0;
	if (*kind == BE16(0x0800)) {
		struct ipv4 *ip = data + ETHERNET;

		/* No options, no fragments. */
		if (ip->version_length != 0x45 || ip->protocol != PROTOCOL_UDP || ip->fragment & BE16(0x3fff))
			return 0;
		bytes = BE16(ip->length) - IPV4;
		local = ip->target;
		remote = ip->source;
		seen->udp_at = ETHERNET + IPV4;
		seen->is_ipv6 = 0;
		udp = data + ETHERNET + IPV4;
	} else if (*kind == BE16(0x86dd)) {
		if (data + ETHERNET + IPV6 + UDP + RTP > end)
			return 0;
		if (ip6->protocol != PROTOCOL_UDP)
			return 0;
		bytes = BE16(ip6->length);
		local = ip6->target[3];
		remote = ip6->source[3];
		seen->udp_at = ETHERNET + IPV6;
		seen->is_ipv6 = 1;
		udp = data + ETHERNET + IPV6;
		/* RFC 8200 §8.1: it has a checksum. */
		if (!udp->check)
			return 0;
	} else {
		return 0;
	}
	rtp = (void *)(udp + 1);
	/* First what tells RTP from all else, so that other traffic pays for no look into the map. */
	if (BE16(udp->length) != bytes || bytes < UDP + RTP || bytes > UDP + DATAGRAM_BYTES || rtp->first >> 6 != 2)
		return 0;
	port = BE16(udp->target);
	index = port >> 2 | seen->is_ipv6 << 14;
	pair = bpf_map_lookup_elem(&places, &index);
	if (!pair)
		return 0;
	index = port & 2 ? pair->of[1] : pair->of[0];
	if (!index--)
		return 0;
	seen->index = index;
	flow = bpf_map_lookup_elem(&flows, &index);
	if (!flow)
		return 0;
	/* Looked at first of all, so that the record is on its way. */
	state = *(volatile __u64 *)&flow->state;
	if ((state & (OFF | HELD)) == OFF)
		return 0;
	here = side(flow->here);
	seen->out = side(flow->out);
	if (!here || !seen->out)
		return 0;
	/* Others speak to this port too, and a record that was just given back may be another flow's already. */
	if (here->address != local || flow->remote != remote || flow->remote_port != udp->source ||
	    !(flow->traits & IS_ODD) != !(port & 1) || !(flow->traits & IS_IPV6) != !seen->is_ipv6)
		return 0;
	sum = (__u64)~local + ~remote + seen->out->address + flow->target;
	if (seen->is_ipv6) {
		seen->rest = bpf_map_lookup_elem(&rests, &index);
		if (!seen->rest || data + ETHERNET + IPV6 > end || !is_of(seen->rest, ip6))
			return 0;
		sum += seen->rest->sum;
	}
	seen->flow = flow;
	if (!is_ours(seen, rtp->marker_type & 0x7f) || !is_rtp(rtp, bytes - UDP, end))
		return 0;
	seen->address_sum = fold(sum);
	seen->port_sum = fold((__u64)~(__u32)udp->source + ~(__u32)udp->target + flow->source_port + flow->target_port);
	seen->sequence = BE16(rtp->sequence);
	seen->timestamp = BE32(rtp->timestamp);
	seen->ssrc = BE32(rtp->ssrc);
	seen->payload_bytes = bytes - UDP;
	return 1;
}

/* Takes a packet in; 0 when the flow is off, or held: then it leaves its mark. */
INLINE int take(struct seen *seen)
{
	__u64 added = PACKET | seen->payload_bytes, state = *(volatile __u64 *)&seen->flow->state;
	__u64 mark = OFF | HELD | MARKED | (__u64)seen->sequence << 32 | seen->timestamp;

	/* Should user space switch it on or off in this moment, that is what counts. */
	if ((state & (OFF | HELD)) == (OFF | HELD) &&
	    __sync_val_compare_and_swap(&seen->flow->state, state, mark) == state)
		return 0;
	return !(__sync_fetch_and_add(&seen->flow->state, added) & OFF);
}

/* Whether the process that we belong to is there. */
INLINE int is_alive(__u64 now)
{
	__u32 first = 0;
	struct life *life = bpf_map_lookup_elem(&lives, &first);

	return life && (!life->patience || now - life->beat < life->patience);
}

INLINE void restart(struct seen *seen)
{
	struct flow *flow = seen->flow;
	struct rest *rest = bpf_map_lookup_elem(&rests, &seen->index);
	__u32 had, expected;

	if (!rest)
		return;
	had = *(volatile __u32 *)&flow->done - rest->apart;
	expected = had ? flow->highest - rest->base + 1 : 0;
	if (expected > had)
		rest->lost_before += expected - had;
	flow->stream = seen->ssrc;
	rest->base = flow->highest = seen->sequence;
	/* The packet that begins it is not done yet. */
	rest->apart += had;
	rest->expected_after_jump = NO_JUMP;
	flow->known = STREAM;
}

/* RFC 3550 A.1, of a packet that does not follow the highest one closely. */
INLINE void count_odd(struct seen *seen, __u32 highest, __u16 ahead)
{
	struct rest *rest = bpf_map_lookup_elem(&rests, &seen->index);

	if (!rest)
		return;
	if (ahead < DROPOUT_MAX) {
		rest->gaps++;
		rest->gap_packets += ahead - 1;
	} else if (ahead <= 0xffff - MISORDER_MAX) {
		if (seen->sequence == rest->expected_after_jump) {
			restart(seen);
			return;
		}
		rest->expected_after_jump = (__u16)(seen->sequence + 1);
		__sync_fetch_and_add(&rest->apart, 1);
	} else if ((__u32)(0xffff - ahead) >= highest - rest->base) {
		__sync_fetch_and_add(&rest->apart, 1);
	}
}

/*
 * RFC 3550 A.1. A sender that moves from one processor to the other can have packets on both at once, so what is
 * counted is added atomically, and the highest number is read once: the next packet mends what a race made of it.
 */
INLINE void count(struct seen *seen)
{
	struct flow *flow = seen->flow;
	__u32 highest = *(volatile __u32 *)&flow->highest;
	__u16 ahead = seen->sequence - (__u16)highest;

	if (!(flow->known & STREAM) || seen->ssrc != flow->stream) {
		restart(seen);
		return;
	}
	if (ahead < DROPOUT_MAX)
		flow->highest = highest + ahead;
	if (ahead > 1)
		count_odd(seen, highest, ahead);
}

/* What the clock of a flow shows: one division where it is that of G.711, as a division costs more than all else here. */
INLINE __u32 ticks_at(__u32 clock_hz, __u64 now)
{
	if (clock_hz == USUAL_HZ)
		return now / USUAL_TICK_NANOS;
	return now / 1000 * clock_hz / 1000000;
}

/* RFC 3550 A.8. */
INLINE void time(struct seen *seen, __u64 now)
{
	struct flow *flow = seen->flow;
	__u32 clock_hz = USUAL_HZ, transit, had = flow->known & TRANSIT;
	__s32 difference;

	if (!(flow->traits & HAS_USUAL_CLOCK)) {
		struct rest *rest = bpf_map_lookup_elem(&rests, &seen->index);

		if (!rest)
			return;
		clock_hz = rest->clock_hz;
	}
	transit = ticks_at(clock_hz, now) - seen->timestamp;
	difference = transit - flow->transit;
	flow->transit = transit;
	flow->known |= TRANSIT;
	if (difference < 0)
		difference = -difference;
	if (!had || (__u32)difference > clock_hz)
		return;
	flow->jitter_x16 += difference - ((flow->jitter_x16 + 8) >> 4);
}

INLINE void note(struct seen *seen, __u64 now)
{
	struct flow *flow = seen->flow;

	flow->last = now >> LAST_SHIFT;
	count(seen);
	/* By the time that `last` tells, so that who reads it can reckon the same. */
	if (seen->is_timed)
		time(seen, now >> LAST_SHIFT << LAST_SHIFT);
	/* The figures are whole before they are called so. */
	__sync_fetch_and_add(&flow->done, 1);
}

INLINE __u16 fold16(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The three words of an RTP header as they go out; gives what that adds to a checksum. */
INLINE __u32 rewritten(struct flow *flow, struct seen *seen, struct rtp *out)
{
	__u32 *from = (void *)out;
	__u64 sum = 0;

	for (int n = 0; n < 3; n++)
		sum += (__u32)~from[n];
	if (flow->traits & REWRITES_TYPE)
		out->marker_type = (out->marker_type & 0x80) | (flow->payload_type & 0x7f);
	out->sequence = BE16((__u16)(seen->sequence + flow->sequence_added));
	out->timestamp = BE32(seen->timestamp + flow->timestamp_added);
	if (flow->traits & REWRITES_SSRC)
		out->ssrc = flow->ssrc;
	for (int n = 0; n < 3; n++)
		sum += from[n];
	return fold(sum);
}

/* Addresses, and what an end of its own puts into an IP header: a fresh hop limit, its mark (RFC 2474). */
INLINE void readdress4(struct ipv4 *ip, struct seen *seen)
{
	struct flow *flow = seen->flow;
	__u16 *words = (void *)ip;
	__u32 sum = 0;

	ip->tos = flow->tos;
	ip->hops = HOP_LIMIT;
	ip->source = seen->out->address;
	ip->target = flow->target;
	ip->check = 0;
	for (int n = 0; n < 10; n++)
		sum += words[n];
	ip->check = ~fold16(sum);
}

INLINE void readdress6(struct ipv6 *ip, struct seen *seen)
{
	struct flow *flow = seen->flow;
	struct rest *rest = seen->rest;

	if (!rest)
		return;
	ip->version_class = 0x60 | flow->tos >> 4;
	ip->class_label = (ip->class_label & 0x0f) | (flow->tos & 0x0f) << 4;
	ip->hops = HOP_LIMIT;
	for (int n = 0; n < 3; n++) {
		ip->source[n] = rest->source[n];
		ip->target[n] = rest->target[n];
	}
	ip->source[3] = seen->out->address;
	ip->target[3] = flow->target;
}

SEC("classifier") int crosspoint_tc(struct __sk_buff *skb)
{
	struct seen seen = {};
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct rtp header;
	struct flow *flow;
	struct udp *udp;
	__u32 port_sum, at;
	__u64 now;

	if (skb->gso_size)
		return TC_NEXT;
	if (data + ETHERNET + IPV6 + UDP + RTP > end && skb->len >= ETHERNET + IPV4 + UDP + RTP) {
		/* Some drivers leave the header in pages. */
		__u32 wanted = ETHERNET + IPV6 + UDP + RTP;

		if (bpf_skb_pull_data(skb, skb->len < wanted ? skb->len : wanted))
			return TC_NEXT;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	if (!look(data, end, &seen))
		return TC_NEXT;
	now = bpf_ktime_get_ns();
	if (!is_alive(now) || !take(&seen))
		return TC_NEXT;
	note(&seen, now);
	flow = seen.flow;
	at = seen.is_ipv6 ? ETHERNET + IPV6 : ETHERNET + IPV4;
	if (data + at + UDP + RTP > end)
		return TC_NEXT;
	port_sum = seen.port_sum;
	header = *(struct rtp *)(data + at + UDP);
	if (flow->traits & REWRITES_HEADER)
		port_sum = fold((__u64)port_sum + rewritten(flow, &seen, &header));
	/* A checksum that is not reckoned yet holds the addresses only: the kernel tells the two apart. */
	at += __builtin_offsetof(struct udp, check);
	bpf_l4_csum_replace(skb, at, 0, seen.address_sum, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	bpf_l4_csum_replace(skb, at, 0, port_sum, BPF_F_MARK_MANGLED_0);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (seen.is_ipv6) {
		if (data + ETHERNET + IPV6 + UDP + RTP > end)
			return TC_NEXT;
		readdress6(data + ETHERNET, &seen);
		udp = data + ETHERNET + IPV6;
	} else {
		if (data + ETHERNET + IPV4 + UDP + RTP > end)
			return TC_NEXT;
		readdress4(data + ETHERNET, &seen);
		udp = data + ETHERNET + IPV4;
	}
	udp->source = flow->source_port;
	udp->target = flow->target_port;
	if (flow->traits & REWRITES_HEADER)
		*(struct rtp *)(udp + 1) = header;
	if (!seen.out->interface)
		return TC_DELIVER;
	return bpf_redirect_neigh(seen.out->interface, 0, 0, 0);
}

/* Asks by which interface and between which cards a flow leaves; 0 when that is not known. */
INLINE int ask(struct xdp_md *context, struct seen *seen, struct way *way)
{
	struct bpf_fib_lookup asked = {};
	struct flow *flow = seen->flow;

	asked.l4_protocol = PROTOCOL_UDP;
	asked.ifindex = context->ingress_ifindex;
	if (seen->rest) {
		asked.family = 10;
		for (int n = 0; n < 3; n++) {
			asked.ipv6_src[n] = seen->rest->source[n];
			asked.ipv6_dst[n] = seen->rest->target[n];
		}
		asked.ipv6_src[3] = seen->out->address;
		asked.ipv6_dst[3] = flow->target;
	} else {
		asked.family = 2;
		asked.ipv4_src = seen->out->address;
		asked.ipv4_dst = flow->target;
	}
	asked.sport = flow->source_port;
	asked.dport = flow->target_port;
	asked.tot_len = seen->payload_bytes + UDP + (seen->is_ipv6 ? IPV6 : IPV4);
	if (bpf_fib_lookup(context, &asked, sizeof(asked), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	way->interface = asked.ifindex;
	__builtin_memcpy(way->to, asked.dmac, 6);
	__builtin_memcpy(way->from, asked.smac, 6);
	return 1;
}

/* Finds the way of a flow, among those that were asked for just now if it is one of IPv4; 0 when it is not known. */
INLINE int find(struct xdp_md *context, struct seen *seen, struct way *way, __u64 now)
{
	struct flow *flow = seen->flow;
	__u32 index = flow->target * 2654435761U >> 22;
	struct way *kept = bpf_map_lookup_elem(&ways, &index);

	if (seen->is_ipv6 || !kept)
		return ask(context, seen, way);
	if (now < kept->until && kept->target == flow->target && kept->source == seen->out->address &&
	    kept->arrived_by == context->ingress_ifindex) {
		*way = *kept;
		return 1;
	}
	if (!ask(context, seen, way))
		return 0;
	way->until = now + WAY_LASTS;
	way->target = flow->target;
	way->source = seen->out->address;
	way->arrived_by = context->ingress_ifindex;
	*kept = *way;
	return 1;
}

SEC("xdp") int crosspoint_xdp(struct xdp_md *context)
{
	struct seen seen = {};
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct way way = {};
	struct flow *flow;
	struct udp *udp;
	struct rtp *rtp;
	__u64 now, sum;

	if (!look(data, end, &seen))
		return XDP_PASS;
	flow = seen.flow;
	/*
	 * What stays on this host goes through its stack anyway; and a frame for an interface whose driver takes none (a
	 * bridge, a virtual card with nobody behind it) would be lost after it was counted: the programme at tc sends it.
	 */
	if (!seen.out->interface || !(flow->traits & BY_DRIVER))
		return XDP_PASS;
	now = bpf_ktime_get_ns();
	/* A neighbour that is not known yet, an interface that does not forward: the programme at tc finds the way. */
	if (!find(context, &seen, &way, now) || way.interface != seen.out->interface)
		return XDP_PASS;
	if (!is_alive(now) || !take(&seen))
		return XDP_PASS;
	note(&seen, now);
	if (seen.is_ipv6) {
		if (data + ETHERNET + IPV6 + UDP + RTP > end)
			return XDP_PASS;
		readdress6(data + ETHERNET, &seen);
		udp = data + ETHERNET + IPV6;
	} else {
		if (data + ETHERNET + IPV4 + UDP + RTP > end)
			return XDP_PASS;
		readdress4(data + ETHERNET, &seen);
		udp = data + ETHERNET + IPV4;
	}
	rtp = (void *)(udp + 1);
	sum = (__u64)seen.address_sum + seen.port_sum;
	if (flow->traits & REWRITES_HEADER)
		sum += rewritten(flow, &seen, rtp);
	udp->source = flow->source_port;
	udp->target = flow->target_port;
	if (udp->check) {
		__u16 check = ~fold16(fold((__u64)(__u16)~udp->check + sum));

		udp->check = check ? check : 0xffff;
	}
	__builtin_memcpy(data, way.to, 6);
	__builtin_memcpy(data + 6, way.from, 6);
	if (way.interface == context->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(way.interface, 0);
}

/* Which text this object was made of, so that a test can tell whether it is this one. */
#ifndef SOURCE
#define SOURCE "unknown"
#endif
SEC("source") const char crosspoint_source[] = SOURCE;
SEC("license") const char crosspoint_license[] = "Dual MIT/GPL";
