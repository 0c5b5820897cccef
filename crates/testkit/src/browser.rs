//! A real browser without a window: Chromium through `ChromeDriver`, by the protocol of the W3C, for
//! tests of pages. Tests that use it are ignored unless asked for, since a machine may have neither.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use thirtyfour::{ChromeCapabilities, ChromiumLikeCapabilities, WebDriver};

/// A browser with a profile of its own, ended with the test.
#[derive(Debug)]
pub struct Browser {
    /// What is done in it.
    pub page: WebDriver,
    driver: Driver,
    _profile: TempDir,
}

#[derive(Debug)]
struct Driver(Child);

/// What a visitor has set for all pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// How large the window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Of a desk.
    Wide,
    /// Of a telephone.
    Narrow,
}

impl Browser {
    /// Starts one that knows nothing yet.
    pub async fn start() -> Self {
        let profile = TempDir::new().unwrap();
        let (driver, port) = Driver::start();
        let mut wanted = ChromeCapabilities::new();
        let directory = format!("--user-data-dir={}", profile.path().display());
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &directory,
        ] {
            wanted.add_arg(argument).unwrap();
        }
        if let Some(browser) = ["/usr/bin/chromium", "/usr/bin/chromium-browser"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
        {
            wanted.set_binary(browser).unwrap();
        }
        let page = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await;
        Self {
            page: page.unwrap(),
            driver,
            _profile: profile,
        }
    }

    /// Sets what pages learn as `prefers-color-scheme`.
    pub async fn prefer(&self, colours: Colours) {
        let value = match colours {
            Colours::Light => "light",
            Colours::Dark => "dark",
        };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.page
            .cdp()
            .send_raw("Emulation.setEmulatedMedia", features)
            .await
            .unwrap();
    }

    /// Makes the window as large as that of a desk or of a telephone.
    pub async fn resize(&self, window: Window) {
        let (width, height) = match window {
            Window::Wide => (1200, 900),
            Window::Narrow => (390, 844),
        };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.page
            .cdp()
            .send_raw("Emulation.setDeviceMetricsOverride", metrics)
            .await
            .unwrap();
    }

    /// Keeps the page as it is shown in light and dark, wide and narrow, as
    /// `target/screenshots/{name}-….png`.
    pub async fn screenshots(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        for (colours, scheme) in [(Colours::Light, "light"), (Colours::Dark, "dark")] {
            for (window, width) in [(Window::Wide, "wide"), (Window::Narrow, "narrow")] {
                self.prefer(colours).await;
                self.resize(window).await;
                let picture = self.page.screenshot_as_png().await.unwrap();
                std::fs::write(folder.join(format!("{name}-{scheme}-{width}.png")), picture).unwrap();
            }
        }
    }
}

impl Driver {
    /// Starts one, which tells on which port it listens.
    fn start() -> (Self, u16) {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver (Debian: chromium-driver) can be started");
        let mut said = BufReader::new(driver.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let port = said.by_ref().find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        // What it says later must find a reader, or it would die of it.
        std::thread::spawn(move || said.for_each(drop));
        (Self(driver), port.expect("chromedriver tells its port"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ended as processes: asked to end, the driver sometimes does not answer for minutes.
        let _ = self.page.clone().leak();
        let browser = self.page.capabilities().get("goog:processID");
        let browser = browser.and_then(serde_json::Value::as_i64);
        if let Some(browser) = browser
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process(browser, Signal::KILL);
        }
        drop(self.driver.0.kill());
        drop(self.driver.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thirtyfour::By;

    #[tokio::test]
    #[ignore = "needs chromium and chromium-driver"]
    async fn a_page_is_shown_in_the_colours_that_its_visitor_prefers() {
        let browser = Browser::start().await;
        let style = "<style>@media (prefers-color-scheme: dark) { p { color: rgb(1, 2, 3) } }</style>";
        browser
            .page
            .goto(format!("data:text/html,{style}<p>text</p>"))
            .await
            .unwrap();
        let colour = async || {
            let text = browser.page.find(By::Tag("p")).await.unwrap();
            text.css_value("color").await.unwrap()
        };
        browser.prefer(Colours::Dark).await;
        assert_eq!(colour().await, "rgba(1, 2, 3, 1)");
        browser.prefer(Colours::Light).await;
        assert_ne!(colour().await, "rgba(1, 2, 3, 1)");
    }
}
