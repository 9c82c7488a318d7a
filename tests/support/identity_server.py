"""A real identity service on loopback for tests: Entra ID's token endpoint, Google's, and those of machines.

It checks what it is shown as the real ones do (secret; signature, audience and time of an assertion) and gives a new
token each time. `asked` has each request's form or query; `fail_with` = a status and a body for all.
"""

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

TENANT, CLIENT, CLIENT_SECRET = "tenant-for-tests", "client-for-tests", "client-secret-for-tests"
FEDERATED = "federated-token-for-tests"
SCOPE = "https://cognitiveservices.azure.com/.default"
ACCOUNT, GOOGLE_SCOPE = "robot@project-for-tests.example", "https://www.googleapis.com/auth/cloud-platform"
GOOGLE_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class IdentityServer:
    """Serves from entering to leaving. Close `gate` to make it slow: requests wait there until it is opened."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.issued: list[str] = []
        self.assertions: list[dict[str, Any]] = []
        self.public_key: RSAPublicKey | None = None
        self.lifetime_s: object = 3600
        self.fail_with: tuple[int, dict[str, Any]] | None = None
        self.gate = threading.Event()
        self.gate.set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"])).decode()
                google = urlsplit(self.path).path == urlsplit(owner.google_url).path
                self._answer(dict(parse_qsl(content)), owner.judge_account if google else owner.judge_form)

            def do_GET(self) -> None:
                asked = dict(parse_qsl(urlsplit(self.path).query))
                flavor = self.headers.get("metadata-flavor", "")
                if flavor:
                    self._answer({**asked, "flavor": flavor}, owner.judge_google_machine)
                else:
                    self._answer({**asked, "metadata": self.headers.get("metadata", "")}, owner.judge_machine)

            def _answer(self, asked: dict[str, str], judge: Any) -> None:
                status, said = owner.answer(urlsplit(self.path).path, asked, judge)
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def token_url(self) -> str:
        return f"{self.origin}/{TENANT}/oauth2/v2.0/token"

    @property
    def machine_url(self) -> str:
        return f"{self.origin}/metadata/identity/oauth2/token"

    @property
    def google_url(self) -> str:
        return f"{self.origin}/google/token"

    @property
    def google_machine_url(self) -> str:
        return f"{self.origin}/computeMetadata/v1/instance/service-accounts/default/token"

    def answer(self, path: str, asked: dict[str, str], judge: Any) -> tuple[int, dict[str, Any]]:
        self.asked.append(asked)
        self.gate.wait(20)
        if self.fail_with is not None:
            return self.fail_with
        problem = judge(path, asked)
        if problem is not None:
            return 401, {"error": "invalid_client", "error_description": f"AADSTS7000215: {problem} {asked}"}
        token = f"issued-{secrets.token_urlsafe(24)}"
        self.issued.append(token)
        return 200, {"token_type": "Bearer", "access_token": token, "expires_in": self.lifetime_s}

    def judge_form(self, path: str, asked: dict[str, str]) -> str | None:
        """Why it is refused."""
        wanted = {"grant_type": "client_credentials", "client_id": CLIENT, "scope": SCOPE}
        if not wanted.items() <= asked.items() or path != urlsplit(self.token_url).path:
            return "another application"
        if "client_assertion" not in asked:
            return None if asked.get("client_secret") == CLIENT_SECRET else "wrong secret"
        if asked.get("client_assertion_type") != ASSERTION_TYPE:
            return "wrong type of assertion"
        if self.public_key is None:
            return None if asked["client_assertion"] == FEDERATED else "wrong federated token"
        try:
            claims = jwt.decode(
                asked["client_assertion"],
                self.public_key,
                algorithms=["PS256"],
                audience=self.token_url,
                issuer=CLIENT,
                options={"require": ["exp", "nbf", "iat", "jti", "sub"]},
            )
        except jwt.PyJWTError as error:
            return type(error).__name__
        self.assertions.append({**jwt.get_unverified_header(asked["client_assertion"]), **claims})
        return None

    def judge_account(self, path: str, asked: dict[str, str]) -> str | None:
        if asked.get("grant_type") != GOOGLE_GRANT or self.public_key is None:
            return "another grant"
        try:
            claims = jwt.decode(
                asked.get("assertion", ""),
                self.public_key,
                algorithms=["RS256"],
                audience=self.google_url,
                issuer=ACCOUNT,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            return type(error).__name__
        self.assertions.append({**jwt.get_unverified_header(asked["assertion"]), **claims})
        return None if claims.get("scope") == GOOGLE_SCOPE else "another scope"

    def judge_google_machine(self, path: str, asked: dict[str, str]) -> str | None:
        right = asked == {"flavor": "Google", "scopes": GOOGLE_SCOPE} and path == urlsplit(self.google_machine_url).path
        return None if right else "not how a machine asks"

    def judge_machine(self, path: str, asked: dict[str, str]) -> str | None:
        wanted = {"metadata": "true", "api-version": "2018-02-01", "resource": SCOPE.removesuffix("/.default")}
        right = path == urlsplit(self.machine_url).path and wanted.items() <= asked.items()
        return None if right else "not how a machine asks"
