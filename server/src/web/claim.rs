//! The claim page, the recovery sheet that it ends with, and the same for programs.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{RETRY_AFTER, SET_COOKIE};
use hyper::{Response, StatusCode};
use posthouse_protocol::appliance::Language;
use posthouse_protocol::claim::{ClaimParams, ClaimProof, ClaimResult, RecoverySheet};
use posthouse_protocol::{ErrorBody, ErrorCode, NameError, Password, Username, limits};

use super::browser::refused;
use super::language::{CLAIM, Part, SHEET, either};
use super::{Asked, Web, read, read_json, status_of};
use crate::claim::{Refused, Shown};
use crate::router::Claimed;
use crate::{clock, cookie, page};

/// What the owner's first device is called that is a browser.
const BROWSER: &str = "browser";

/// What somebody has filled in. Passwords are not given back.
#[derive(Default)]
pub(super) struct Filled {
    pub code: String,
    username: String,
    pub password: String,
    again: String,
    clock_ms: Option<u64>,
}

impl Filled {
    /// From the body of a form.
    pub fn read(body: &[u8]) -> Self {
        let mut filled = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match name.as_ref() {
                "code" => filled.code = value.into_owned(),
                "username" => filled.username = value.into_owned(),
                "password" => filled.password = value.into_owned(),
                "again" => filled.again = value.into_owned(),
                "clock_ms" => filled.clock_ms = value.parse().ok(),
                _ => {}
            }
        }
        filled
    }
}

impl Web {
    /// The form, with what was filled in before and what is wrong with it.
    pub(super) fn claim_page(
        &self,
        asked: &Asked,
        filled: &Filled,
        status: StatusCode,
        problem: Option<String>,
    ) -> Response<Full<Bytes>> {
        let language = asked.language;
        let parts = [
            ("problems", problems(language, &self.settings.problems)),
            ("problem", problem.map_or_else(Part::nothing, |problem| paragraph("problem", &problem))),
            ("plain", self.plain_warning(asked)),
            ("code", Part::text(&filled.code)),
            ("username", Part::text(&filled.username)),
            ("password_min", Part::text(&limits::PASSWORD_CHARS_MIN)),
            ("address", Part::text(&asked.address)),
            ("fingerprint", self.fingerprint(language)),
        ];
        self.page(language, status, CLAIM.fill(language, &parts))
    }

    /// Claims the box for whoever sends the form; works without scripts.
    pub(super) async fn claim_by_form(&self, asked: &Asked, body: Incoming) -> Response<Full<Bytes>> {
        if !is_form(asked) {
            return not_a_form();
        }
        let filled = match read(body).await {
            Ok(body) => Filled::read(&body),
            Err(refused) => return refused,
        };
        match self.claim_as_filled(asked, &filled).await {
            Ok(claimed) => {
                let mut response = self.sheet_page(asked, &claimed);
                response.headers_mut().insert(SET_COOKIE, cookie::set(&claimed.token, asked.visit.carrier));
                response
            }
            Err(refused) => self.claim_refused(asked, &filled, refused),
        }
    }

    async fn claim_as_filled(&self, asked: &Asked, filled: &Filled) -> Result<Claimed, Refused> {
        let language = asked.language;
        let invalid = |message: String| Refused::Other(ErrorBody::new(ErrorCode::InvalidParams, message));
        // What is wrong with these costs no try.
        let username = Username::new(&filled.username).map_err(|error| invalid(name_problem(language, &error)))?;
        if let Some(problem) = password_problem(language, filled) {
            return Err(invalid(problem));
        }
        let (shown, password) = (Shown::Code(&filled.code), Password(filled.password.clone()));
        let visitor = &asked.visit.visitor;
        let claimed = self.claim.claim(visitor, &shown, username, password, BROWSER.to_owned()).await?;
        self.take_clock(filled.clock_ms);
        Ok(claimed.into_inner())
    }

    fn claim_refused(&self, asked: &Asked, filled: &Filled, refused: Refused) -> Response<Full<Bytes>> {
        let language = asked.language;
        let problem = problem_of(language, &refused);
        let wait = if let Refused::Locked(wait) = &refused { Some(*wait) } else { None };
        let mut response = self.claim_page(asked, filled, status_of(&refused.error()), Some(problem));
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
        }
        response
    }

    fn sheet_page(&self, asked: &Asked, claimed: &Claimed) -> Response<Full<Bytes>> {
        let language = asked.language;
        let line = |fingerprint| {
            let label = either(language, "Fingerprint", "指纹");
            format!(r#"<dt>{label}</dt><dd class="key">{fingerprint}</dd>"#)
        };
        let english =
            "The fingerprint is what this box is known by: a program that shows another one talks to somebody else. ";
        let chinese = "指纹是这台设备的身份：如果某个程序显示的是另一个指纹，它连接的就不是这台设备。";
        let known_by = self.claim.fingerprint().map(|_| either(language, english, chinese)).unwrap_or_default();
        let parts = [
            ("username", Part::text(&claimed.account.username)),
            ("address", Part::text(&asked.address)),
            ("fingerprint", Part::Markup(self.claim.fingerprint().map(line).unwrap_or_default())),
            ("known_by", Part::text(&known_by)),
            ("backup_key", Part::text(&claimed.backup_key)),
        ];
        self.page(language, StatusCode::OK, SHEET.fill(language, &parts))
    }

    /// The owner's clock, which is better than none.
    fn take_clock(&self, clock_ms: Option<u64>) {
        if let (Some(file), Some(clock_ms)) = (&self.clock_request, clock_ms) {
            clock::ask_for(file, clock_ms);
        }
    }

    /// What `posthouse claim` asks first: whether this is the box whose code it has.
    pub(super) async fn prove(&self, asked: &Asked, body: Incoming) -> Response<Full<Bytes>> {
        let proof: ClaimProof = match read_json(asked, body).await {
            Ok(proof) => proof,
            Err(refused) => return refused,
        };
        match self.claim.answer(&asked.visit.visitor, &proof) {
            Ok(answer) => page::json(StatusCode::OK, &answer),
            Err(error) => refused(&error.error()),
        }
    }

    /// Claims the box for a program.
    pub(super) async fn claim_by_json(&self, asked: &Asked, body: Incoming) -> Response<Full<Bytes>> {
        let params: ClaimParams = match read_json(asked, body).await {
            Ok(params) => params,
            Err(refused) => return refused,
        };
        let ClaimParams { nonce, proof, username, password, device, clock_ms } = params;
        let proof = ClaimProof { nonce, proof };
        let (visitor, shown) = (&asked.visit.visitor, Shown::Proof(&proof));
        let claimed = match self.claim.claim(visitor, &shown, username, password, device).await {
            Ok(claimed) => claimed.into_inner(),
            Err(error) => return refused(&error.error()),
        };
        self.take_clock(clock_ms);
        let Claimed { account, token, backup_key } = claimed;
        let sheet = RecoverySheet { address: asked.address.clone(), fingerprint: self.claim.fingerprint(), backup_key };
        page::json(StatusCode::OK, &ClaimResult { account, token, sheet })
    }
}

/// What a person is told of it.
pub(super) fn problem_of(language: Language, refused: &Refused) -> String {
    match refused {
        Refused::Wrong => {
            let english = "This is not the code that the box shows now. Look again: it changes every 15 minutes.";
            either(language, english, "这不是设备现在显示的代码。请再看一遍：代码每 15 分钟更换一次。")
        }
        Refused::Locked(wait) => {
            let minutes = wait.as_secs() / 60 + 1;
            let english = format!("Too many wrong codes. Wait {minutes} minutes, then try again.");
            either(language, &english, &format!("错误的代码太多了。请等 {minutes} 分钟再试。"))
        }
        Refused::Other(error) if error.code == ErrorCode::Conflict => {
            either(language, "Somebody else has just claimed this box.", "这台设备刚刚已经有了主人。")
        }
        Refused::Other(error) if error.code == ErrorCode::AlreadyExists => {
            either(language, "This user name is taken: choose another one.", "这个用户名已被使用，请换一个。")
        }
        Refused::Other(error) => error.message.clone(),
    }
}

/// What is wrong with the password that somebody has chosen.
pub(super) fn password_problem(language: Language, filled: &Filled) -> Option<String> {
    let Filled { password, again, .. } = filled;
    if password != again {
        return Some(either(language, "The two passwords are not the same.", "两次输入的密码不一样。"));
    }
    let (least, most) = (limits::PASSWORD_CHARS_MIN, limits::PASSWORD_LEN_MAX);
    if password.chars().count() >= least && password.len() <= most {
        return None;
    }
    let english = format!("The password needs {least} characters or more, and {most} bytes at most.");
    Some(either(language, &english, &format!("密码至少 {least} 个字符，最多 {most} 字节。")))
}

/// Whether the body is what a page's form sends.
pub(super) fn is_form(asked: &Asked) -> bool {
    page::is_of_type(&asked.head.headers, "application/x-www-form-urlencoded")
}

pub(super) fn not_a_form() -> Response<Full<Bytes>> {
    page::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this takes the form of its page")
}

/// What was wrong with the files on the card.
fn problems(language: Language, problems: &[String]) -> Part {
    if problems.is_empty() {
        return Part::nothing();
    }
    let lines: String = problems.iter().map(|problem| format!("<p>{}</p>", page::escape(problem))).collect();
    let heading = either(language, "Something is wrong with the files on the box's card:", "存储卡上的文件有问题：");
    Part::Markup(format!(r#"<div class="problem"><p>{heading}</p>{lines}</div>"#))
}

pub(super) fn paragraph(class: &str, text: &str) -> Part {
    Part::Markup(format!(r#"<p class="{class}" role="alert">{}</p>"#, page::escape(text)))
}

fn name_problem(language: Language, error: &NameError) -> String {
    let chinese = match error {
        NameError::Empty => "请输入用户名。".to_owned(),
        NameError::TooLong => format!("用户名最多 {} 个字符。", limits::USERNAME_CHARS_MAX),
        NameError::Character(c) => format!("用户名里不能有“{c}”。"),
        NameError::Start => "用户名要以文字或数字开头。".to_owned(),
    };
    either(language, &format!("{error}."), &chinese)
}
