//! The page by which an owner who has forgotten the password sets another one, where the card asks for that.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use posthouse_protocol::{Password, limits};

use super::claim::{Filled, is_form, not_a_form, password_problem, problem_of};
use super::language::{Part, RECOVER, either};
use super::{Asked, Web, read, status_of};

/// Where it is.
pub(super) const PATH: &str = "/recover";

impl Web {
    pub(super) fn recover_page(
        &self,
        asked: &Asked,
        code: &str,
        status: StatusCode,
        problem: Option<String>,
    ) -> Response<Full<Bytes>> {
        let owner = self.claim.owner().map(|owner| owner.username.to_string()).unwrap_or_default();
        let parts = [
            ("username", Part::text(&owner)),
            ("problem", problem.map_or_else(Part::nothing, |problem| super::claim::paragraph("problem", &problem))),
            ("plain", self.plain_warning(asked)),
            ("code", Part::text(&code)),
            ("password_min", Part::text(&limits::PASSWORD_CHARS_MIN)),
        ];
        self.page(asked.language, status, RECOVER.fill(asked.language, &parts))
    }

    pub(super) async fn recover_by_form(&self, asked: &Asked, body: Incoming) -> Response<Full<Bytes>> {
        let language = asked.language;
        if !self.claim.is_recovering() {
            let title = either(language, "Nothing to recover", "没有需要恢复的");
            let english = "This box was not asked to let its owner back in, or somebody has just done so.";
            let message = either(language, english, "这台设备没有收到让主人重新登录的请求，或者刚刚已经处理过了。");
            return self.message(language, StatusCode::NOT_FOUND, &title, &message);
        }
        if !is_form(asked) {
            return not_a_form();
        }
        let filled = match read(body).await {
            Ok(body) => Filled::read(&body),
            Err(refused) => return refused,
        };
        if let Some(problem) = password_problem(language, &filled) {
            return self.recover_page(asked, &filled.code, StatusCode::BAD_REQUEST, Some(problem));
        }
        let recovered = self.claim.recover(&asked.visit.visitor, &filled.code, Password(filled.password.clone())).await;
        match recovered {
            Ok(owner) => {
                let title = either(language, "The password is set", "密码已设置");
                let english = format!("{} can log in with it now. All devices were signed out.", owner.username);
                let chinese = format!("{} 现在可以用新密码登录。所有设备都已退出登录。", owner.username);
                self.message(language, StatusCode::OK, &title, &either(language, &english, &chinese))
            }
            Err(refused) => {
                let problem = problem_of(language, &refused);
                self.recover_page(asked, &filled.code, status_of(&refused.error()), Some(problem))
            }
        }
    }
}
