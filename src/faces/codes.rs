//! The table of problem codes: what programs may rely on. Never says why something failed in one
//! case; that is the problem's `detail`.

/// A stable code, the HTTP status that it comes with, and its title.
pub(crate) type Code = (&'static str, u16, &'static str);

macro_rules! codes {
    ($($name:ident: $code:literal $status:literal $title:literal;)*) => {
        $(pub(crate) const $name: Code = ($code, $status, $title);)*

        /// Every code of the HTTP face with its status and title.
        pub const CODES: &[(&str, u16, &str)] = &[$($name),*];
    };
}

codes! {
    ADDRESS_REFUSED: "E-ADDRESS-REFUSED" 400 "The hub does not deliver to this address";
    BODY_TIMEOUT: "E-BODY-TIMEOUT" 408 "The request body came too slowly";
    BODY_TOO_LARGE: "E-BODY-TOO-LARGE" 413 "The request body is too large";
    BODY_UNREADABLE: "E-BODY-UNREADABLE" 400 "The request body broke off";
    CREDENTIALS_MISSING: "E-CREDENTIALS-MISSING" 401 "Valid credentials are needed";
    DEAD_LETTER_UNKNOWN: "E-DEAD-LETTER-UNKNOWN" 404 "There is no such dead letter";
    EVENT_INVALID: "E-EVENT-INVALID" 400 "The event is not valid";
    EVENT_TOO_LARGE: "E-EVENT-TOO-LARGE" 413 "The event is too large";
    EVENT_UNKNOWN: "E-EVENT-UNKNOWN" 404 "There is no such event";
    GRANT_MISSING: "E-GRANT-MISSING" 403 "A grant is missing";
    HEADER_INVALID: "E-HEADER-INVALID" 400 "A request header is not valid";
    HOST_FOREIGN: "E-HOST-FOREIGN" 403 "Without credentials only loopback names are served";
    HUB_STOPPING: "E-HUB-STOPPING" 503 "The hub is stopping";
    INTERNAL: "E-INTERNAL" 500 "The hub made a mistake";
    JOB_UNKNOWN: "E-JOB-UNKNOWN" 404 "There is no such job";
    JOBS_FULL: "E-JOBS-FULL" 429 "The hub runs as many jobs as it may";
    JSON_INVALID: "E-JSON-INVALID" 400 "The request body is not valid JSON";
    LEASE_EXPIRED: "E-LEASE-EXPIRED" 410 "The lease is over";
    MEDIA_TYPE_UNKNOWN: "E-MEDIA-TYPE-UNKNOWN" 415 "The media type is not known here";
    METHOD_NOT_ALLOWED: "E-METHOD-NOT-ALLOWED" 405 "The route does not have this method";
    ORIGIN_FOREIGN: "E-ORIGIN-FOREIGN" 403 "The request came from another site's page";
    QUERY_INVALID: "E-QUERY-INVALID" 400 "The query is not valid";
    REDRIVE_INVALID: "E-REDRIVE-INVALID" 400 "The redrive's description is not valid";
    REPLAY_RUNNING: "E-REPLAY-RUNNING" 409 "The subscription is being replayed";
    ROUTE_UNKNOWN: "E-ROUTE-UNKNOWN" 404 "There is no such route";
    SETUP_KEY_SPENT: "E-SETUP-KEY-SPENT" 410 "There is no set-up to be done";
    SETUP_KEY_WRONG: "E-SETUP-KEY-WRONG" 403 "The set-up key is wrong";
    STORE_BUSY: "E-STORE-BUSY" 503 "Too much waits to be written";
    STORE_FAILED: "E-STORE-FAILED" 503 "The store failed";
    STORE_FULL: "E-STORE-FULL" 507 "The disk is full";
    SUBSCRIPTION_ENDED: "E-SUBSCRIPTION-ENDED" 410 "The subscription has ended";
    SUBSCRIPTION_INVALID: "E-SUBSCRIPTION-INVALID" 400 "The subscription is not valid";
    SUBSCRIPTION_TAKEN: "E-SUBSCRIPTION-TAKEN" 409 "The subscription's id is taken";
    SUBSCRIPTION_UNKNOWN: "E-SUBSCRIPTION-UNKNOWN" 404 "There is no such subscription";
    SUBSCRIPTION_UNSIGNED: "E-SUBSCRIPTION-UNSIGNED" 409 "The subscription is not signed";
    SUBSCRIPTIONS_FULL: "E-SUBSCRIPTIONS-FULL" 429 "The hub holds as many subscriptions as it may";
    TESTS_FULL: "E-TESTS-FULL" 429 "As many tests run as may";
    TOKEN_INVALID: "E-TOKEN-INVALID" 400 "The token's description is not valid";
    TOKEN_UNKNOWN: "E-TOKEN-UNKNOWN" 404 "There is no such token";
    TOKENS_FULL: "E-TOKENS-FULL" 429 "The hub holds as many tokens as it may";
    VERSION_MISMATCH: "E-VERSION-MISMATCH" 412 "The subscription stands at another version";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_well_formed_unique_and_sorted() {
        for pair in CODES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} {}", pair[0].0, pair[1].0);
        }
        for (code, status, title) in CODES {
            let plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
            assert!(code.starts_with("E-") && code.bytes().all(plain), "{code}");
            assert!((400..600).contains(status) && !title.is_empty(), "{code}");
        }
    }
}
