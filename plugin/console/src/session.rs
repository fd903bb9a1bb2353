//! The signed-in person, the page that is shown, and the way from one to another.

use std::cell::{OnceCell, RefCell};

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;

use crate::address::Page;
use crate::api::{self, Failure};
use crate::browser;
use crate::role::Me;

/// The place of the token while the tab is open, so that a reload keeps the person signed in.
const TOKEN: &str = "tollgate.token";
const THEME: &str = "tollgate.theme";

/// The state of the sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// The token is being checked.
    Checking,
    /// There is no token, or it was refused for this reason.
    Out(Option<Failure>),
    /// A link would replace the person who is signed in.
    Asking,
    /// Signed in.
    In,
}

/// The values that every part of the page may read.
#[derive(Clone, Copy)]
pub struct Session {
    /// The state of the sign-in.
    pub state: RwSignal<SignIn>,
    /// The person; empty if none is signed in.
    pub me: RwSignal<Me>,
    /// True if the gateway stopped accepting the token while the page was open.
    pub expired: RwSignal<bool>,
    /// The reason why signing in again failed.
    pub refused: RwSignal<Option<Failure>>,
    /// The page.
    pub page: RwSignal<Page>,
    /// `light`, `dark`, or empty for the system's.
    pub theme: RwSignal<String>,
}

thread_local! {
    static SESSION: OnceCell<Session> = const { OnceCell::new() };
    static BEARER: RefCell<Option<String>> = const { RefCell::new(None) };
    /// The token of a link, until the person decides.
    static OFFERED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Returns the session of this page.
pub fn session() -> Session {
    SESSION.with(|session| {
        *session.get_or_init(|| Session {
            state: RwSignal::new(SignIn::Checking),
            me: RwSignal::new(Me::default()),
            expired: RwSignal::new(false),
            refused: RwSignal::new(None),
            page: RwSignal::new(Page::Home),
            theme: RwSignal::new(browser::setting(THEME).unwrap_or_default()),
        })
    })
}

/// Returns the token of the person who is signed in.
pub fn bearer() -> Option<String> {
    BEARER.with_borrow(Clone::clone)
}

/// Returns the person who is signed in, for decisions that need no redrawing.
pub fn me() -> Me {
    session().me.get_untracked()
}

impl Session {
    /// Reads the address and the token, and begins.
    pub fn begin(self) {
        browser::set_theme(&self.theme.get_untracked());
        let offered = take_token();
        self.page.set(Page::parse(&browser::address()));
        let kept = browser::kept(TOKEN);
        match (offered, kept) {
            (Some(offered), Some(kept)) if offered != kept => {
                OFFERED.with_borrow_mut(|token| *token = Some(offered));
                self.check(kept, true);
            }
            (Some(token), _) | (None, Some(token)) => self.check(token, false),
            (None, None) => self.state.set(SignIn::Out(None)),
        }
    }

    /// Signs in with a token.
    pub fn sign_in(self, token: String) {
        self.check(token, false);
    }

    /// Decides about the token of a link.
    pub fn decide(self, accept: bool) {
        match OFFERED.with_borrow_mut(Option::take).filter(|_| accept) {
            Some(token) => self.check(token, false),
            None => self.state.set(SignIn::In),
        }
    }

    /// Reads the person of a token. `then_ask`: another token waits for a decision.
    fn check(self, token: String, then_ask: bool) {
        let was_in = self.expired.get_untracked().then(|| self.me.get_untracked().id);
        if was_in.is_none() {
            self.state.set(SignIn::Checking);
        }
        BEARER.with_borrow_mut(|bearer| *bearer = Some(token.trim().to_owned()));
        browser::spawn(async move {
            match api::me().await {
                Ok(me) => {
                    browser::keep(TOKEN, bearer().as_deref());
                    let is_same = was_in.is_none_or(|id| id == me.id);
                    self.me.set(me);
                    self.expired.set(false);
                    self.refused.set(None);
                    let state = if then_ask { SignIn::Asking } else { SignIn::In };
                    // Setting it draws the page anew, and a form that waits for this would be lost.
                    if self.state.get_untracked() != state {
                        self.state.set(state);
                    }
                    if !is_same {
                        // Another person must not continue with this one's form.
                        self.page.notify();
                    }
                }
                Err(_) if then_ask => {
                    // The token that was kept is no longer good: the link's takes its place.
                    self.decide(true);
                }
                // The page below keeps what was typed.
                Err(failure) if was_in.is_some() => self.refused.set(Some(failure)),
                Err(failure) => self.state.set(SignIn::Out(Some(failure))),
            }
        });
    }

    /// Forgets the person. The document is loaded anew, so that nothing of them stays in its memory.
    pub fn sign_out(self) {
        BEARER.with_borrow_mut(|bearer| *bearer = None);
        browser::keep(TOKEN, None);
        self.state.set(SignIn::Out(None));
        browser::reload();
    }

    /// Shows a page.
    pub fn go(self, page: Page) {
        browser::set_address(&page.address(), true);
        self.show(page);
    }

    fn show(self, page: Page) {
        self.page.set(page);
        browser::focus(crate::view::TITLE.to_owned());
        if let Some(window) = browser::window() {
            window.scroll_to_with_x_and_y(0.0, 0.0);
        }
    }

    /// Follows the address after the person changed it.
    pub fn follow(self) {
        if let Some(token) = take_token() {
            if bearer().as_ref() == Some(&token) {
                return;
            }
            if self.state.get_untracked() == SignIn::In {
                OFFERED.with_borrow_mut(|offered| *offered = Some(token));
                self.state.set(SignIn::Asking);
            } else {
                self.check(token, false);
            }
            return;
        }
        let page = Page::parse(&browser::address());
        if page != self.page.get_untracked() {
            self.show(page);
        }
    }

    /// Switches between the themes: the system's, light, dark.
    pub fn next_theme(self) {
        let next = match self.theme.get_untracked().as_str() {
            "light" => "dark",
            "dark" => "",
            _ => "light",
        };
        browser::set_setting(THEME, next);
        browser::set_theme(next);
        self.theme.set(next.to_owned());
    }
}

/// Takes the token out of the address, so that it is in no history and no screenshot.
fn take_token() -> Option<String> {
    let address = browser::address();
    let (path, token) = address.split_once("#token=")?;
    browser::set_address(path, false);
    Some(token.to_owned()).filter(|token| !token.is_empty())
}
