//! A browser that a test drives through WebDriver (W3C), with the few commands that the tests need.
//!
//! No crate does this here: fantoccini depends on `webdriver`, which is under MPL-2.0, and on 45 crates more.

#![allow(dead_code)] // Each test uses its own part.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_host::tools::{self, ARGUMENTS, Chromium};

/// The time limit for any event.
const PATIENCE: Duration = Duration::from_secs(20);
/// The member that holds the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. It ends with this value.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: PathBuf,
}

impl Browser {
    /// Starts a browser without a window on the screen.
    pub fn start(chromium: &Chromium, name: &str) -> Browser {
        let mut driver = Command::new(&chromium.driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = |line: &String| line.contains("started successfully on port");
        let line = lines.map_while(Result::ok).find(started).expect("the driver starts");
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        let port = digits.parse().unwrap();
        let profile = std::env::temp_dir().join(format!("tollgate-console-{}-{name}", std::process::id()));
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        arguments.push("--lang=en-US".to_owned());
        let mut browser = Browser { driver, port, session: String::new(), profile };
        let always = json!({
            "goog:chromeOptions": {"binary": chromium.browser, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let session = browser.call("POST", "", Some(&json!({"capabilities": {"alwaysMatch": always}})));
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser
    }

    /// Sends a command and returns its value.
    ///
    /// # Panics
    /// If the command fails.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let path = if self.session.is_empty() {
            "/session".into()
        } else {
            format!("/session/{}{path}", self.session)
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut line, mut length, mut status) = (String::new(), 0, 0);
        while reader.read_line(&mut line).unwrap() > 2 {
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        if status == 200 { Ok(answer["value"].clone()) } else { Err(answer["value"]["message"].to_string()) }
    }

    pub fn open(&self, url: &str) {
        // The same document with another fragment would not be loaded.
        self.call("POST", "/url", Some(&json!({"url": "about:blank"})));
        self.call("POST", "/url", Some(&json!({"url": url})));
    }

    /// Changes the address as a person does who pastes one.
    pub fn go(&self, url: &str) {
        self.call("POST", "/url", Some(&json!({"url": url})));
    }

    pub fn url(&self) -> String {
        self.call("GET", "/url", None).as_str().unwrap().to_owned()
    }

    pub fn reload(&self) {
        self.call("POST", "/refresh", Some(&json!({})));
    }

    pub fn back(&self) {
        self.call("POST", "/back", Some(&json!({})));
    }

    /// Runs a function body in the page and returns its result.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.call("POST", "/execute/sync", Some(&json!({"script": script, "args": arguments})))
    }

    /// Runs a command of the browser's own protocol.
    pub fn command(&self, name: &str, parameters: &Value) {
        self.call("POST", "/goog/cdp/execute", Some(&json!({"cmd": name, "params": parameters})));
    }

    /// Returns what the page's console has since the last call.
    pub fn log(&self) -> Vec<String> {
        let entries = self.call("POST", "/se/log", Some(&json!({"type": "browser"})));
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until a script returns true.
    #[track_caller]
    pub fn wait(&self, what: &str, script: &str, arguments: &[Value]) {
        let begun = Instant::now();
        while self.run(script, arguments) != Value::Bool(true) {
            assert!(begun.elapsed() < PATIENCE, "never: {what}\n{}\n{}", self.url(), self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the visible text of the page.
    pub fn text(&self) -> String {
        self.run("return document.body.innerText", &[]).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows a text.
    #[track_caller]
    pub fn sees(&self, text: &str) {
        self.wait(text, "return document.body.innerText.includes(arguments[0])", &[text.into()]);
    }

    /// Waits until the page no longer shows a text.
    #[track_caller]
    pub fn sees_no(&self, text: &str) {
        self.wait(text, "return !document.body.innerText.includes(arguments[0])", &[text.into()]);
    }

    /// Waits for an element.
    #[track_caller]
    fn find(&self, xpath: &str) -> String {
        let begun = Instant::now();
        loop {
            let found = self.call("POST", "/elements", Some(&json!({"using": "xpath", "value": xpath})));
            let found =
                found.as_array().unwrap().iter().map(|element| element[ELEMENT].as_str().unwrap().to_owned());
            for element in found {
                // One that was drawn again meanwhile is not there.
                if self.try_call("GET", &format!("/element/{element}/displayed"), None)
                    == Ok(Value::Bool(true))
                {
                    return element;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "no {xpath}\n{}\n{}", self.url(), self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks on the element with this path, as a person does.
    #[track_caller]
    pub fn click_at(&self, xpath: &str) {
        let begun = Instant::now();
        loop {
            let element = self.find(xpath);
            let clicked = self.try_call("POST", &format!("/element/{element}/click"), Some(&json!({})));
            let Err(error) = clicked else { return };
            assert!(begun.elapsed() < PATIENCE, "{xpath}: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks on the button or link with this text or label.
    #[track_caller]
    pub fn click(&self, words: &str) {
        let named = format!("normalize-space()='{words}' or @aria-label='{words}'");
        // In an open dialog, the rest of the page is out of reach.
        let dialogs = self.run("return document.querySelectorAll('dialog[open]').length", &[]);
        let scope = if dialogs == json!(0) { "" } else { "//dialog[@open]" };
        self.click_at(&format!("{scope}//*[(self::button or self::a or self::summary) and ({named})]"));
    }

    /// Returns the path of the field with this label.
    fn field(label: &str) -> String {
        format!("//*[@id=//label[normalize-space()='{label}']/@for]")
    }

    /// Replaces the text of a field.
    #[track_caller]
    pub fn fill(&self, label: &str, text: &str) {
        self.fill_at(&Browser::field(label), text);
    }

    #[track_caller]
    pub fn fill_at(&self, xpath: &str, text: &str) {
        let element = self.find(xpath);
        let path = format!("/element/{element}");
        self.call("POST", &format!("{path}/click"), Some(&json!({})));
        // Control and A, then what is typed replaces it.
        self.call("POST", &format!("{path}/value"), Some(&json!({"text": "\u{e009}a\u{e000}\u{e003}"})));
        self.call("POST", &format!("{path}/value"), Some(&json!({"text": text})));
    }

    /// Switches a checkbox or a radio button.
    #[track_caller]
    pub fn check(&self, label: &str) {
        self.click_at(&Browser::field(label));
    }

    /// Returns the value of a field; of a checkbox `true` or `false`.
    #[track_caller]
    pub fn value(&self, label: &str) -> String {
        let element = json!({ELEMENT: self.find(&Browser::field(label))});
        let script = "const it = arguments[0]; return it.type === 'checkbox' ? String(it.checked) : it.value";
        self.run(script, &[element]).as_str().unwrap().to_owned()
    }

    /// Chooses an option by its words.
    #[track_caller]
    pub fn choose(&self, label: &str, words: &str) {
        self.click_at(&format!(
            "//select[@id=//label[normalize-space()='{label}']/@for or @aria-label='{label}']/option[normalize-space()='{words}']"
        ));
    }

    /// Returns true if the page has a button or link with this text or label.
    pub fn has(&self, words: &str) -> bool {
        let script = "return [...document.querySelectorAll('button, a, h2, summary')]\
            .some(it => it.innerText.trim() === arguments[0] || it.getAttribute('aria-label') === arguments[0])";
        self.run(script, &[words.into()]) == Value::Bool(true)
    }

    /// Presses keys where the focus is.
    pub fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})))
            .collect();
        self.call(
            "POST",
            "/actions",
            Some(&json!({"actions": [{"type": "key", "id": "keys", "actions": strokes}]})),
        );
    }

    /// Sets the size of the page, in CSS pixels, and the theme of the system.
    pub fn look(&self, width: u32, height: u32, theme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", &size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.command("Emulation.setEmulatedMedia", &features);
    }

    /// Writes a picture of the whole page.
    pub fn picture(&self, path: &Path) {
        let encoded = self.call("GET", "/screenshot", None);
        std::fs::write(path, STANDARD.decode(encoded.as_str().unwrap()).unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; the driver may be gone.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.try_call("DELETE", "", None)));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// Returns the browser of this machine; `None` after a message that the test is skipped.
pub fn chromium() -> Option<Chromium> {
    tools::require(tools::chromium())
}
