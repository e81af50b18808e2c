//! Several hosts: the first alone, then the others side by side, and none is begun after one has failed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `work` for each item: for the first alone, then for at most `jobs` of the others at once. After one that is not `fine` no other is
/// begun; those that are at work are brought to their end. Gives what came of each, none for those never begun.
pub fn canary_first<I: Sync, T: Send>(
    items: &[I],
    jobs: usize,
    work: &(dyn Fn(&I) -> T + Sync),
    fine: &(dyn Fn(&T) -> bool + Sync),
) -> Vec<Option<T>> {
    let results: Mutex<Vec<Option<T>>> = Mutex::new(items.iter().map(|_| None).collect());
    let stopped = AtomicBool::new(false);
    let one = |at: usize| {
        let Some(item) = items.get(at) else {
            return;
        };
        let result = work(item);
        if !fine(&result) {
            stopped.store(true, Ordering::Release);
        }
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = results.get_mut(at) {
            *place = Some(result);
        }
    };
    one(0);
    let next = AtomicUsize::new(1);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while !stopped.load(Ordering::Acquire) {
                    let at = next.fetch_add(1, Ordering::AcqRel);
                    if at >= items.len() {
                        break;
                    }
                    one(at);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_follows_a_canary_that_fell() {
        let done = canary_first(&[1, 2, 3], 4, &|n| *n, &|n| *n != 1);
        assert_eq!(done, [Some(1), None, None]);
    }

    #[test]
    fn after_a_failure_none_is_begun() {
        let done = canary_first(&[1, 2, 3, 4], 1, &|n| *n, &|n| *n != 3);
        assert_eq!(done, [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn the_first_is_alone_and_the_bound_holds() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let canary_done = AtomicBool::new(false);
        let work = |n: &usize| {
            assert!(*n == 0 || canary_done.load(Ordering::SeqCst));
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            canary_done.store(true, Ordering::SeqCst);
            *n
        };
        let items: Vec<usize> = (0..40).collect();
        let done = canary_first(&items, 3, &work, &|_| true);
        assert!(done.iter().all(Option::is_some));
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[test]
    fn of_no_hosts_nothing_comes() {
        assert!(canary_first::<u8, u8>(&[], 2, &|n| *n, &|_| true).is_empty());
    }
}
