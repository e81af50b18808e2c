//! Patches are made in segments, so that the host needs no memory for whole layers.

/// So much of the blob is one segment, and one frame of zstd.
pub const SEGMENT: u64 = 8 << 20;
/// At most so much of the base is what one segment may refer to.
pub const BASE_WINDOW: u64 = 24 << 20;

/// A part of the blob, and the part of the base that it is patched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Bytes of the blob, after those of the segments before.
    pub size: u64,
    /// Where the window in the base begins. Never before that of the segment before: the base is read once, forward.
    pub base_from: u64,
    pub base_size: u64,
}

/// Cuts a blob of `size` bytes: each segment is patched against what lies at the same place of the base, measured as a part of the whole,
/// with as much room before and after it. What two versions of a package share stands in the same order in both.
pub fn segments(base: u64, size: u64) -> impl Iterator<Item = Segment> {
    let window = base.min(BASE_WINDOW);
    (0..size.div_ceil(SEGMENT)).map(move |number| {
        let at = number * SEGMENT;
        let length = (size - at).min(SEGMENT);
        let middle = u128::from(at + length / 2) * u128::from(base) / u128::from(size.max(1));
        let from = u64::try_from(middle)
            .unwrap_or(base)
            .saturating_sub(window / 2)
            .min(base - window);
        Segment {
            size: length,
            base_from: from,
            base_size: window,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn segments_cover_the_blob_and_go_forward_within_the_base(
            base in 0_u64..200 << 20,
            size in 0_u64..200 << 20,
        ) {
            let all: Vec<Segment> = segments(base, size).collect();
            prop_assert_eq!(all.iter().map(|segment| segment.size).sum::<u64>(), size);
            for segment in &all {
                prop_assert!(segment.size > 0 && segment.size <= SEGMENT);
                prop_assert!(segment.base_size <= BASE_WINDOW);
                prop_assert!(segment.base_from + segment.base_size <= base);
            }
            prop_assert!(all.windows(2).all(|two| two[0].base_from <= two[1].base_from));
        }

        #[test]
        fn what_stands_at_the_same_place_is_in_the_window(base in 1_u64..200 << 20) {
            let mut at = 0;
            for segment in segments(base, base) {
                prop_assert!(segment.base_from <= at);
                at += segment.size;
                prop_assert!(segment.base_from + segment.base_size >= at);
            }
        }
    }
}
