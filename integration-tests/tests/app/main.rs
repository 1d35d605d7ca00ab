//! One application on every store, over real HTTP: what users of an application see must not depend on the store. Each
//! behaviour is a test for each store: `redis::a_hit_is_the_miss_byte_for_byte`.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod bodies;
mod conditional;
mod flights;
mod freshness;
mod functions;
mod hits;
mod invalidation;
mod outage;
mod privacy;
mod server;
mod store;

macro_rules! behaviours {
    (
        every_store { $($every:ident::$every_name:ident,)+ }
        shared_by_processes { $($shared:ident::$shared_name:ident,)+ }
        out_of_reach { $($broken:ident::$broken_name:ident,)+ }
    ) => {
        behaviours! { @mod memory: crate::store::Store::memory(); $($every::$every_name,)+ }
        mod redis {
            behaviours! { @tests crate::store::Store::redis(); $($every::$every_name,)+ $($shared::$shared_name,)+ }
            behaviours! { @tests crate::store::Own::redis(); $($broken::$broken_name,)+ }
        }
        mod at_rest {
            behaviours! { @tests crate::store::Store::at_rest(); $($every::$every_name,)+ $($shared::$shared_name,)+ }
        }
        mod memcached {
            behaviours! { @tests crate::store::Store::memcached(); $($every::$every_name,)+ $($shared::$shared_name,)+ }
            behaviours! { @tests crate::store::Own::memcached(); $($broken::$broken_name,)+ }
        }
        mod dynamodb {
            behaviours! { @tests crate::store::Store::dynamodb(); $($every::$every_name,)+ $($shared::$shared_name,)+ }
            behaviours! { @tests crate::store::Own::dynamodb(); $($broken::$broken_name,)+ }
        }
    };
    (@mod $store:ident: $new:expr; $($list:tt)+) => {
        mod $store {
            behaviours! { @tests $new; $($list)+ }
        }
    };
    (@tests $new:expr; $($module:ident::$name:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name($new.await).await;
            }
        )+
    };
}

behaviours! {
    every_store {
        hits::a_hit_is_the_miss_byte_for_byte,
        hits::a_large_body_is_the_same_again,
        hits::a_head_is_answered_from_a_get,
        hits::a_range_is_cut_from_the_stored_whole,
        hits::the_order_of_a_query_does_not_matter,
        hits::each_variant_has_its_own_answer,
        hits::a_post_is_cached_by_choice,
        conditional::whoever_has_it_is_told_that_it_has_not_changed,
        conditional::whoever_has_another_gets_the_whole,
        freshness::age_goes_up_beside_the_lifetime,
        freshness::an_answer_ends_with_its_lifetime,
        freshness::a_stale_answer_is_given_while_it_is_refreshed,
        freshness::a_stale_answer_stands_in_for_a_failing_handler,
        privacy::requests_with_credentials_share_nothing,
        privacy::answers_for_one_are_not_stored,
        privacy::each_user_has_own_answers,
        bodies::what_the_store_cannot_take_is_answered_and_not_stored,
        bodies::a_streamed_body_is_passed_on_at_once_and_stored,
        flights::a_hundred_first_requests_run_the_handler_once,
        invalidation::a_write_invalidates_its_url,
        invalidation::a_handler_invalidates_another_url,
        invalidation::clearing_a_namespace_leaves_its_neighbours,
        invalidation::what_is_invalidated_while_it_is_made_is_never_seen_again,
        invalidation::what_is_cleared_while_it_is_made_is_never_seen_again,
        invalidation::what_nobody_invalidates_while_it_is_made_is_stored,
        functions::a_function_is_cached_until_a_write_invalidates_it,
    }
    shared_by_processes {
        flights::a_hundred_first_requests_of_two_processes_run_the_handler_once,
        flights::what_one_process_stores_the_other_finds,
    }
    out_of_reach {
        outage::the_application_outlives_its_store,
        outage::a_store_that_hangs_is_soon_left_alone,
    }
}
