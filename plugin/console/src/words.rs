//! All words of the console. Sentences about a request are the API's own.

use crate::format;

/// A window of limits.
#[derive(Clone, Copy, Debug)]
pub struct WindowWords {
    /// The name in the API.
    pub name: &'static str,
    /// The place in a record.
    pub pointer: &'static str,
    /// The heading.
    pub title: &'static str,
    /// The unit after a number.
    pub unit: &'static str,
    /// The unit after a number of uses.
    pub span: &'static str,
    /// True if it starts over on the calendar.
    pub calendar: bool,
}

/// The windows, in the order of the page.
pub const WINDOWS: [WindowWords; 5] = [
    WindowWords {
        name: "rpm",
        pointer: "/limits/rpm",
        title: "Requests per minute",
        unit: "requests per minute",
        span: "in the last 60 s",
        calendar: false,
    },
    WindowWords {
        name: "tpm",
        pointer: "/limits/tpm",
        title: "Tokens per minute",
        unit: "tokens per minute",
        span: "in the last 60 s",
        calendar: false,
    },
    WindowWords {
        name: "rph",
        pointer: "/limits/rph",
        title: "Requests per hour",
        unit: "requests per hour",
        span: "in the last 60 min",
        calendar: false,
    },
    WindowWords {
        name: "rpd",
        pointer: "/limits/rpd",
        title: "Requests per day",
        unit: "requests per day",
        span: "today (UTC)",
        calendar: true,
    },
    WindowWords {
        name: "tpd",
        pointer: "/limits/tpd",
        title: "Tokens per day",
        unit: "tokens per day",
        span: "today (UTC)",
        calendar: true,
    },
];

/// The periods of a budget.
pub const PERIODS: [(&str, &str); 5] = [
    ("month", "each month"),
    ("week", "each week"),
    ("day", "each day"),
    ("hour", "each hour"),
    ("lifetime", "in all, never resets"),
];
/// The periods of a key's budget.
pub const KEY_PERIODS: [(&str, &str); 2] = [("month", "each month"), ("lifetime", "in all, never resets")];
/// The roles of a team.
pub const TEAM_ROLES: [(&str, &str); 3] =
    [("team_developer", "Developer"), ("team_admin", "Admin"), ("team_viewer", "Viewer")];

/// Returns a period after an amount.
pub fn per(period: &str) -> &'static str {
    match period {
        "hour" => "an hour",
        "day" => "a day",
        "week" => "a week",
        "month" => "a month",
        _ => "in all",
    }
}

/// Returns the heading of a budget.
pub fn budget_title(period: &str) -> String {
    match period {
        "hour" => "Budget of this hour (UTC)",
        "day" => "Budget of today (UTC)",
        "week" => "Budget of this week (UTC)",
        "month" => "Budget of this month (UTC)",
        _ => "Budget in all",
    }
    .to_owned()
}

/// Returns the title of the tab.
pub fn tab_title(name: &str) -> String {
    format!("{name} – Tollgate")
}

/// Returns the sentence for a status without one.
pub fn refused(status: u16) -> String {
    format!("The gateway answered with status {status}.")
}

/// Returns the label of a card's edit button.
pub fn edit(heading: &str) -> String {
    format!("Edit: {heading}")
}

/// Says that a value was taken over from another person's change.
pub fn taken_over(read: &str) -> String {
    format!("Changed by someone else meanwhile; it was {read}.")
}

/// Says that both persons changed a value.
pub fn both_changed(theirs: &str) -> String {
    format!("Changed by someone else meanwhile, to {theirs}.")
}

/// The button that takes the other value.
pub fn take_theirs(theirs: &str) -> String {
    format!("Take {theirs}")
}

/// Returns the limit of the level above, beside a field.
pub fn above(organization: &str, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => {
            let limit = crate::input::grouped(limit);
            format!("{organization} has {limit} for all its teams. Empty: this team shares those.")
        }
        None => "Empty: not limited.".to_owned(),
    }
}

/// Returns the budget of the level above, beside a field.
pub fn budget_above(organization: &str, budget: Option<&crate::types::Budget>) -> String {
    match budget {
        Some(budget) => {
            format!(
                "{organization} has {} for all its teams. Empty: this team shares those.",
                format::budget(budget)
            )
        }
        None => "Empty: not limited.".to_owned(),
    }
}

/// Says who is signed in.
pub fn signed_in_as(name: &str) -> String {
    format!("Signed in as {name}")
}

/// Asks about a link that signs in.
pub fn replace_person(name: &str) -> String {
    format!("You are signed in as {name}. The link that you opened signs in with another token.")
}

/// The button that keeps the person.
pub fn stay(name: &str) -> String {
    format!("Stay signed in as {name}")
}

/// The access of a team in a list.
pub fn access(access: &crate::types::Access) -> String {
    if access.mode != "restrict" {
        return INHERITS.to_owned();
    }
    let parts: Vec<String> =
        [(access.access_groups.len(), "group", "groups"), (access.targets.len(), "target", "targets")]
            .into_iter()
            .filter(|(number, ..)| *number > 0)
            .map(|(number, one, many)| format::count(number, one, many))
            .collect();
    if parts.is_empty() { "Nothing".to_owned() } else { format!("Only {}", parts.join(", ")) }
}

/// Says how many targets a team may call.
pub fn callable(callable: usize, all: usize) -> String {
    format!("{callable} of {} can be called.", format::count(all, "target", "targets"))
}

/// Says what a save changed.
pub fn access_change(more: usize, less: usize) -> String {
    match (more, less) {
        (0, 0) => "Saved. The same targets can be called as before.".to_owned(),
        (more, 0) => format!("Saved. {} became callable.", format::count(more, "target", "targets")),
        (0, less) => format!("Saved. {} can no longer be called.", format::count(less, "target", "targets")),
        (more, less) => format!("Saved. {more} became callable, {less} can no longer be called."),
    }
}

/// Says that a selection grants nothing.
pub fn inert(name: &str, organization: &str) -> String {
    format!("{name} is selected and grants nothing: {organization} does not offer it.")
}

/// Asks before a person is removed from a team.
pub fn remove_from_team(name: &str, team: &str) -> String {
    format!("Remove {name} from {team}?")
}

/// Says which keys end with a membership.
pub fn keys_that_end(names: &[String]) -> String {
    if names.is_empty() {
        return "No key of theirs in this team ends with it.".to_owned();
    }
    let subject = if names.len() == 1 { "This key of theirs stops" } else { "These keys of theirs stop" };
    format!("{subject} working at once: {}.", names.join(", "))
}

/// Says that a person was added.
pub fn added(user: &str) -> String {
    format!("{user} is a member now.")
}

/// Says that a role was changed.
pub fn role_changed(user: &str, role: &str) -> String {
    let words = TEAM_ROLES.iter().find(|(name, _)| *name == role).map_or(role, |(_, words)| words);
    format!("{user} is {} now.", words.to_lowercase())
}

/// The label of a role field.
pub fn role_of(name: &str) -> String {
    format!("Role of {name}")
}

/// The label of a remove button.
pub fn remove(name: &str) -> String {
    format!("Remove {name}")
}

/// Asks before a key is revoked.
pub fn revoke(name: &str) -> String {
    format!("Revoke {name}?")
}

/// Asks before a team is deleted.
pub fn delete_team(name: &str) -> String {
    format!("Delete the team {name}?")
}

/// Says until when the replaced secret works.
pub fn old_works_until(time: &str) -> String {
    format!("The old secret works until {time}.")
}

/// Says how many models a key may call.
pub fn test_passed(models: usize) -> String {
    format!("It works: this key may call {}.", format::count(models, "model", "models"))
}

/// Says that a key cannot be used.
pub fn test_failed(reason: &str) -> String {
    format!("It does not work yet: {reason}")
}

/// Returns a time span from now.
pub fn relative(milliseconds: f64) -> String {
    // A time that is shown is far inside the range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = (milliseconds.abs() / 1_000.0) as u64;
    let span = match seconds {
        0..86_400 => format::span(seconds),
        _ => format::count(usize::try_from(seconds / 86_400).unwrap_or(usize::MAX), "day", "days"),
    };
    if milliseconds < 0.0 { format!("{span} ago") } else { format!("in {span}") }
}

macro_rules! words {
    ($($name:ident: $text:literal;)*) => {
        $(#[doc = concat!("\"", $text, "\"")] pub const $name: &str = $text;)*
    };
}

words! {
    PRODUCT: "Tollgate";
    SKIP: "Skip to the content";
    PAGES: "Pages";
    HOME: "Home";
    TEAMS: "Teams";
    SIGN_IN: "Sign in";
    SIGN_OUT: "Sign out";
    SIGN_IN_ADVICE: "Paste your user token. It stays in this tab and is forgotten when you sign out.";
    TOKEN: "User token";
    TOKEN_HINT: "Your administrator hands it out. It is not an API key.";
    ANOTHER_PERSON: "Sign in as another person?";
    USE_LINK: "Use the link";
    SESSION_OVER: "You are signed out";
    SESSION_OVER_ADVICE: "The gateway no longer accepts your token. What you typed on this page stays; sign in again to continue.";
    SIGN_IN_AGAIN_THEN: "Sign in again, then try again.";
    THEME_SYSTEM: "Theme: system";
    THEME_LIGHT: "Theme: light";
    THEME_DARK: "Theme: dark";
    LOADING: "Loading";
    TRY_AGAIN: "Try again";
    NOT_ALLOWED: "You may not do this";
    ASK_AN_ADMIN: "An admin of the team or the organization can.";
    NOT_THERE: "Not found";
    NOT_THERE_OR_HIDDEN: "It does not exist, or you may not read it.";
    UNREACHABLE: "The gateway does not answer";
    KEPT_TRYING: "It was tried four times. What you typed is still here.";
    FAILED: "That did not work";
    NO_ANSWER: "The gateway did not answer. Nothing is lost here; try again.";
    NOT_SAVED: "Not saved:";
    NOT_A_NUMBER: "This is not a whole number. 200000, 200 000, 200,000 and 200k are understood.";
    NOT_MONEY: "This is not an amount of dollars, such as 20 or 12.50.";
    NO_VALUE: "no value";
    KEEP_MINE: "Keep mine";
    CHANGED_MEANWHILE: "Someone else changed this meanwhile. Their changes are marked below; nothing is saved yet. Check, and save again.";
    EDIT: "Edit";
    SAVE: "Save";
    CANCEL: "Cancel";
    UNDO: "Undo";
    SAVED: "Saved. In force from the next request.";
    UNDONE: "Undone: it is as before.";
    COPIED: "Copied.";
    NOT_COPIED: "This browser does not allow it here: select the text and copy it.";
    NEAR: "▲ nearly used up";
    FULL: "■ used up";
    ACTIVE: "Active";
    BLOCKED: "Blocked";
    SHADOW: "Shadow mode";
    SELF_SERVICE_OFF: "Developers cannot create keys of their own here.";
    NO_PEOPLE: "No members yet";
    INHERITS: "Inherits";
    UNKNOWN_PAGE: "There is no such page";
    UNKNOWN_PAGE_ADVICE: "The address may be of another version of the console.";
    YOUR_TEAMS: "Your teams";
    YOUR_KEYS: "Your keys";
    NO_TEAMS_OF_YOURS: "You are not a member of a team yet. Ask an admin of your organization to add you.";
    NO_OWN_KEYS: "You have no key in this team yet.";
    CREATE_KEY: "Create key";
    CREATE_TEAM: "Create team";
    NEW_TEAM: "New team";
    NEW_KEY: "New key";
    ORGANIZATION: "Organization";
    NO_ORGANIZATIONS: "You have no role in an organization yet. Ask its admin to add you.";
    NO_TEAMS: "This organization has no team yet.";
    TEAM: "Team";
    STATE: "State";
    ACCESS: "Access";
    LIMITS: "Limits";
    BUDGET: "Budget";
    PEOPLE: "People";
    NOT_LIMITED: "Not limited";
    NEXT_PAGE: "Next page";
    FIRST_PAGE: "First page";
    IDENTITY: "Identity";
    NAME: "Name";
    ID: "Id";
    TEAM_ID_HINT: "Proposed from the name. It cannot be changed later.";
    SELF_SERVICE: "Self-Service Keys";
    ALLOW_SELF_SERVICE: "Allow developers to create personal API keys";
    TIGHTER_RULES: "Tighter rules";
    KEYS_PER_PERSON: "Keys per person";
    KEYS_PER_PERSON_HINT: "Active keys of one person in this team. Empty: any number.";
    BUDGET_CEILING: "Budget ceiling of a key, US$";
    BUDGET_CEILING_HINT: "With it, each key needs a budget within it. Empty: any budget, or none.";
    REQUIRE_EXPIRY: "Require an expiry date";
    LONGEST_DAYS: "Longest lifetime in days";
    LONGEST_DAYS_HINT: "With it, each key must expire. Empty: any time.";
    LIMITS_AND_BUDGET: "Limits and budget";
    LIMITS_ADVICE: "Each is optional. 200 000, 200k and 1.5M are understood.";
    BUDGET_MAX: "Budget, US$";
    BUDGET_SOFT: "Warn from, US$";
    BUDGET_SOFT_HINT: "Responses carry a warning above it. Calls are not rejected.";
    PERIOD: "Period";
    MEMBERS: "Members";
    PEOPLE_ADVICE: "Members of the organization. Others can be added on the team's page.";
    ADD_ANOTHER: "Add another person";
    PERSON: "Person";
    ROLE: "Role";
    ACCESS_INHERIT: "Inherit";
    ACCESS_INHERIT_HINT: "Everything that the organization grants, now and later.";
    ACCESS_RESTRICT: "Restrict";
    ACCESS_RESTRICT_HINT: "Only what is selected here, within what the organization grants.";
    ACCESS_LATER: "The team inherits what its organization grants. Restrict it on the team's page, with a preview.";
    CREATED_SELF_SERVICE: "Created. Self-service is on.";
    CREATED: "Created. Self-service is off.";
    LEAVE_WITHOUT_SAVING: "Leave without creating";
    OVERVIEW: "Overview";
    KEYS: "Keys";
    PARTS: "Parts of the team";
    LIMITS_AND_USE: "Limits and use";
    USE_HIDDEN: "The use is shown to team admins, owners, billing and auditors.";
    NO_LIMITS: "No limit is set: the team shares those of its organization.";
    NO_BUDGET: "No budget is set: the team shares that of its organization.";
    SELF_SERVICE_ADVICE: "Keys that exist keep working; the rules apply to new ones, from the next request.";
    ACCESS_INHERITS_LONG: "Inherits everything that the organization grants.";
    ACCESS_RESTRICTS_LONG: "Restricted to a selection.";
    SHOW_ACCESS: "Access and reasons";
    SHOW_MEMBERS: "All members";
    READ_ONLY: "You can read this. Admins of the team or of the organization can change it.";
    DANGER: "Block or delete";
    BLOCK: "Block";
    UNBLOCK: "Unblock";
    BLOCK_ADVICE: "Every key of a blocked team is rejected. Counters stay.";
    DELETE: "Delete team";
    DELETE_ADVICE: "A team with keys cannot be deleted: revoke its keys first.";
    DELETE_LINE: "This cannot be undone. Its service accounts and settings are removed.";
    TEAM_BLOCKED_LINE: "This team is blocked: every key of it is rejected.";
    NONE: "none";
    GROUPS: "Access groups";
    TARGETS: "Targets";
    TARGET: "Target";
    RESULT: "Result";
    REASON: "Reason";
    CALLABLE: "✓ Callable";
    NOT_CALLABLE: "– Not callable";
    GAINED: "+ becomes callable";
    LOST: "− no longer callable";
    NOTHING_CALLABLE: "Nothing can be called.";
    NOTHING_CALLABLE_ADVICE: "The team restricts its access and has selected nothing that its organization grants.";
    NO_TARGETS: "The catalogue has no targets.";
    PREVIEW: "Targets and reasons";
    PREVIEW_ADVICE: "As saved. The table shows what changed after each save, and a save can be undone.";
    EDIT_ACCESS: "Edit access";
    NOTHING_OFFERED: "The organization offers none.";
    GROUP_ADVICE: "A group includes targets that get its label later.";
    NO_MEMBERS: "The team has no members yet.";
    ADD_MEMBER: "Add a member";
    ADD: "Add";
    ADD_HINT: "A person of the organization.";
    ADD_HINT_ADMIN: "A person of the organization, or the id of a new one, such as an e-mail address: they are added to the organization too.";
    REMOVE: "Remove";
    YOURSELF: "This is you: you lose your own role in this team.";
    LAST_ADMIN: "This is the last admin of the team.";
    NO_KEYS: "The team has no keys yet.";
    KEYS_HIDDEN: "Your role does not show keys.";
    KEYS_OWN_ONLY: "Your own keys. Admins of the team see all of them.";
    KEY: "Key";
    OWNER: "Owner";
    OWNER_HINT: "user/ID or service_account/ID. Empty: you if you are a member, else the team.";
    EXPIRES: "Expires";
    NEVER: "Never";
    EXPIRED: "Expired";
    LAST_FOUR: "Ends in";
    THE_TEAM: "The team";
    KEY_NAME_HINT: "Such as the program or the machine that uses it.";
    EXPIRES_IN: "Expires after, in days";
    EXPIRES_IN_HINT: "Empty: it does not expire.";
    MORE_LIMITS: "Limits of this key";
    KEY_RULES: "The team's self-service rules apply. If they do not allow what you enter, nothing is created, and the answer says what would be allowed.";
    NOT_CREATED_HERE: "You may not create keys in this team. Its admins can.";
    SECRET_TITLE: "Your new key";
    SECRET_ADVICE: "This is the only time that the secret is shown. Store it now, in a password manager or in your program's configuration.";
    SECRET: "Secret";
    COPY_SECRET: "Copy the secret";
    COPY: "Copy";
    TEST_NOW: "Test it now";
    STORED: "I have stored it";
    USE_SHELL: "Shell";
    USE_OPENAI: "OpenAI SDK, Python";
    USE_ANTHROPIC: "Anthropic SDK, Python";
    HOW_TO_USE: "Ready to paste";
    ROTATE: "Rotate";
    ROTATION: "Rotation";
    ROTATE_TITLE: "Rotate this key";
    ROTATE_ADVICE: "The key gets a new secret and keeps its limits, access and use.";
    GRACE: "The old secret works";
    END_PREVIOUS: "End the previous secret now";
    END_PREVIOUS_ADVICE: "An earlier secret is still in its grace period. Rotating again ends it at once.";
    REVOKE: "Revoke";
    REVOKE_LINE: "It is rejected from the next request. This cannot be undone.";
    BLOCK_KEY_ADVICE: "A blocked key is rejected until it is unblocked.";
    DETAILS: "Details";
    CHANGE: "Rotate, block or revoke";
    MADE_BY_SELF_SERVICE: "made by self-service";
    NO_KEY_LIMITS: "The key has no limits of its own.";
    REVOKED: "The key is revoked.";
    REVOKED_KEY: "Revoked key";
    BY_TEAM: "For the team";
}

/// The choices of a grace period, in seconds.
pub const GRACES: [(&str, &str); 4] =
    [("0", "no longer"), ("3600", "for 1 hour"), ("86400", "for 1 day"), ("604800", "for 7 days")];
