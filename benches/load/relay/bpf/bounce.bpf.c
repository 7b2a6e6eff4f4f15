/* The far side of the closed loop of `relay-load veth`: every phone behind the relay at once.
 *
 * A frame that the relay sent is looked at (does it belong to this leg, does its checksum fit) and becomes the next
 * packet of a leg drawn by lot, so a fixed number of frames goes round and no generator limits the relay. Leg n speaks
 * and hears on port FIRST_PORT + 2n, and the relay has the same port for it; legs n and n ^ 1 are one call.
 */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define BE16(x) __builtin_bswap16(x)
#define BE32(x) __builtin_bswap32(x)

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __s64 (*bpf_csum_diff)(__u32 *from, __u32 from_bytes, __u32 *to, __u32 to_bytes, __u32 seed) =
	(void *)BPF_FUNC_csum_diff;

struct map {
	__u32 type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
};

/* The next sequence number of each leg; what is said and asked: see the indices below. */
struct map SEC("maps") numbers = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(__u32), 32768, 0 };
struct map SEC("maps") said = { BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(__u64), 5, 0 };

enum { LEGS, BOUNCED, WRONG_LEG, WRONG_SUM, CHANCE };

#define FIRST_PORT 10000
#define PROTOCOL_UDP 17
/* A frame that comes from a socket: the kernel left its checksum to a card. */
#define SEED 0x80000000
/* One frame in so many is added up as a whole. */
#define SAMPLED 256

struct frame {
	__u8 to[6];
	__u8 from_card[6];
	__u16 kind;
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
	__u16 source_port;
	__u16 target_port;
	__u16 udp_length;
	__u16 udp_check;
	__u16 first_type;
	__u16 sequence;
	__u32 timestamp;
	__u32 ssrc;
	__u32 leg;
	__u8 payload[156];
} __attribute__((packed));

/* What differs between two packets of the loop. */
struct part {
	__u16 ports[2];
	__u16 first_type;
	__u16 sequence;
	__u32 timestamp;
	__u32 ssrc;
	__u32 leg;
};

static inline __attribute__((always_inline)) __u64 *at(__u32 index)
{
	return bpf_map_lookup_elem(&said, &index);
}

static inline __attribute__((always_inline)) __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static inline __attribute__((always_inline)) struct part part(struct frame *frame)
{
	struct part part = { { frame->source_port, frame->target_port }, frame->first_type, frame->sequence,
			     frame->timestamp, frame->ssrc, frame->leg };
	return part;
}

/* The sum over the pseudo header and the whole datagram; of a right one: 0xffff. */
static inline __attribute__((always_inline)) __u16 whole(struct frame *frame)
{
	__u64 sum = (__u64)frame->source + frame->target + BE16(PROTOCOL_UDP) + frame->udp_length;

	return fold(bpf_csum_diff(0, 0, (void *)&frame->source_port, 180, 0) + sum);
}

SEC("xdp") int bounce(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	__u64 *legs = at(LEGS), *bounced = at(BOUNCED), *wrong_leg = at(WRONG_LEG), *wrong_sum = at(WRONG_SUM);
	__u64 *chance = at(CHANCE);
	struct frame *frame = data;
	struct part before, after;
	__u32 leg, *number, address;
	__u64 lot;
	__u16 check;
	int is_seed;

	if (frame + 1 > (struct frame *)end || !legs || !bounced || !wrong_leg || !wrong_sum || !chance)
		return XDP_PASS;
	if (frame->kind != BE16(0x0800) || frame->protocol != PROTOCOL_UDP)
		return XDP_PASS;
	leg = (__u32)(BE16(frame->target_port) - FIRST_PORT) / 2;
	is_seed = !!(frame->leg & BE32(SEED));
	if (leg >= *legs || frame->source_port != frame->target_port || (BE32(frame->leg) & ~SEED) != (leg ^ 1)) {
		*wrong_leg += 1;
		return XDP_DROP;
	}
	*bounced += 1;
	if (!is_seed && *bounced % SAMPLED == 0 && whole(frame) != 0xffff)
		*wrong_sum += 1;
	lot = *chance;
	lot ^= lot << 13;
	lot ^= lot >> 7;
	lot ^= lot << 17;
	*chance = lot;
	leg = (__u32)(lot >> 16) % (__u32)*legs;
	number = bpf_map_lookup_elem(&numbers, &leg);
	if (!number)
		return XDP_DROP;
	before = part(frame);
	__builtin_memcpy(frame->to, frame->from_card, 6);
	/* The card that this came to: 02:00:00:00:00:02. */
	__builtin_memcpy(frame->from_card, "\x02\0\0\0\0\x02", 6);
	address = frame->source;
	frame->source = frame->target;
	frame->target = address;
	frame->source_port = frame->target_port = BE16((__u16)(FIRST_PORT + 2 * leg));
	frame->first_type = BE16(0x8000);
	frame->sequence = BE16((__u16)*number);
	frame->timestamp = BE32(*number * 160);
	frame->ssrc = BE32(leg + 1);
	frame->leg = BE32(leg);
	*number += 1;
	after = part(frame);
	if (is_seed) {
		frame->udp_check = 0;
		check = ~whole(frame);
	} else {
		check = ~fold(bpf_csum_diff((void *)&before, sizeof(before), (void *)&after, sizeof(after),
					    (__u16)~frame->udp_check));
	}
	/* RFC 768: 0 would say that there is none. */
	frame->udp_check = check ? check : 0xffff;
	return XDP_TX;
}

/* A card without a programme is never told that frames wait in it. */
SEC("xdp") int pass(struct xdp_md *context)
{
	(void)context;
	return XDP_PASS;
}

SEC("license") const char bounce_license[] = "Dual MIT/GPL";
