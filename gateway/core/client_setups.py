"""The setups of the programs and libraries that people use, by name. Names and spellings are those that each program
reads as of 2026-11; `url` is the gateway's address without a path, `model` a name that its key may use.
"""

from collections.abc import Callable, Mapping

from gateway.core.client_setup import KEY_VARIABLE, JsonFile, Place, Setup, TextFile, TomlFile

_FROM_ENVIRONMENT = f"${KEY_VARIABLE}"
_SESSION_NOTE = (
    "One run is one session where it sends `x-comptroller-session`; without it, all runs of a key share one."
)
SERVER = "comptroller"
"""The name under which clients know our MCP server and our provider."""


def _claude_code(url: str, model: str) -> Setup:
    environment = {"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1", "ANTHROPIC_MODEL": model}
    mcp = {"type": "http", "url": f"{url}/mcp", "headers": {"Authorization": f"Bearer ${{{KEY_VARIABLE}}}"}}
    return Setup(
        "claude-code",
        "Claude Code",
        environment=(("ANTHROPIC_AUTH_TOKEN", _FROM_ENVIRONMENT),),
        files=(
            JsonFile(Place.PROJECT, ".claude/settings.json", {"env": environment}),
            JsonFile(Place.PROJECT, ".mcp.json", {"mcpServers": {SERVER: mcp}}),
        ),
        run='claude -p "say hello"',
        notes=("Its runs and sub-agents are found as sessions by themselves; its MCP calls join them.",),
    )


def _codex(url: str, model: str) -> Setup:
    top = f'model = "{model}"\nmodel_provider = "{SERVER}"\nweb_search = "disabled"\n'
    tables = (
        f'[model_providers.{SERVER}]\nname = "Comptroller"\nbase_url = "{url}/v1"\nenv_key = "{KEY_VARIABLE}"\n'
        f'wire_api = "responses"\n\n'
        f'[mcp_servers.{SERVER}]\nurl = "{url}/mcp"\nbearer_token_env_var = "{KEY_VARIABLE}"\n'
    )
    return Setup(
        "codex",
        "Codex",
        files=(TomlFile(Place.HOME, ".codex/config.toml", top, tables),),
        run='codex exec "say hello"',
        notes=(
            "Its runs and sub-agents are found as sessions by themselves.",
            "Its search of the web is run by the provider for a fee, so it is off; drop the line to use it.",
        ),
    )


def _gemini_cli(url: str, model: str) -> Setup:
    mcp = {"httpUrl": f"{url}/mcp", "headers": {"Authorization": f"Bearer {_FROM_ENVIRONMENT}"}}
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "mcpServers": {SERVER: mcp}}
    return Setup(
        "gemini-cli",
        "Gemini CLI",
        environment=(("GOOGLE_GEMINI_BASE_URL", url), ("GEMINI_API_KEY", _FROM_ENVIRONMENT)),
        files=(JsonFile(Place.HOME, ".gemini/settings.json", settings),),
        run=f'gemini -m {model} -p "say hello"',
        notes=(
            'It names no session: `export GEMINI_CLI_CUSTOM_HEADERS="x-comptroller-session:ticket-7"` does.',
            "Without `-m` it asks a small model first which one to take: the key needs both.",
        ),
    )


def _qwen_code(url: str, model: str) -> Setup:
    mcp = {"httpUrl": f"{url}/mcp", "headers": {"Authorization": f"Bearer {_FROM_ENVIRONMENT}"}}
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        "model": {"name": model},
        "mcpServers": {SERVER: mcp},
    }
    return Setup(
        "qwen-code",
        "Qwen Code",
        environment=(("OPENAI_BASE_URL", f"{url}/v1"), ("OPENAI_API_KEY", _FROM_ENVIRONMENT)),
        files=(JsonFile(Place.HOME, ".qwen/settings.json", settings),),
        run='qwen -p "say hello"',
        notes=(
            'It names no session: `{"x-comptroller-session": "ticket-7"}` in `generationConfig.customHeaders` does.',
            "After a run it asks the model what to remember of it, unless `memory.enableManagedAutoMemory` is false.",
        ),
    )


def _opencode(url: str, model: str) -> Setup:
    key = f"{{env:{KEY_VARIABLE}}}"
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Comptroller",
        "options": {"baseURL": f"{url}/v1", "apiKey": key},
        "models": {model: {}},
    }
    mcp = {"type": "remote", "url": f"{url}/mcp", "headers": {"Authorization": f"Bearer {key}"}}
    settings = {"provider": {SERVER: provider}, "model": f"{SERVER}/{model}", "mcp": {SERVER: mcp}}
    return Setup(
        "opencode",
        "opencode",
        files=(JsonFile(Place.PROJECT, "opencode.json", settings),),
        run='opencode run "say hello"',
        notes=("Its runs and sub-agents are found as sessions by themselves.",),
    )


def _cursor(url: str, model: str) -> Setup:
    mcp = {"url": f"{url}/mcp", "headers": {"Authorization": f"Bearer ${{env:{KEY_VARIABLE}}}"}}
    return Setup(
        "cursor",
        "Cursor",
        files=(JsonFile(Place.PROJECT, ".cursor/mcp.json", {"mcpServers": {SERVER: mcp}}),),
        notes=(
            f"Settings, Models: the key goes under OpenAI, {url}/v1 under `Override OpenAI Base URL`; add {model}.",
            "Its model calls come from Cursor's own servers: this address must be a public one with HTTPS.",
        ),
    )


def _copilot(url: str, model: str) -> Setup:
    return Setup(
        "copilot",
        "Copilot CLI",
        environment=(
            ("COPILOT_OFFLINE", "true"),
            ("COPILOT_PROVIDER_TYPE", "openai"),
            ("COPILOT_PROVIDER_BASE_URL", f"{url}/v1"),
            ("COPILOT_PROVIDER_API_KEY", _FROM_ENVIRONMENT),
            ("COPILOT_MODEL", model),
        ),
        run='copilot -p "say hello"',
        notes=('It names no session: `export COPILOT_PROVIDER_HEADERS="x-comptroller-session: ticket-7"` does.',),
    )


def _continue(url: str, model: str) -> Setup:
    content = (
        f"name: Comptroller\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: {model} through Comptroller\n"
        f"    provider: openai\n    model: {model}\n    apiBase: {url}/v1\n"
        f"    apiKey: ${{{{ secrets.{KEY_VARIABLE} }}}}\n    roles: [chat, edit, apply]\n"
    )
    return Setup(
        "continue",
        "Continue",
        files=(TextFile(Place.HOME, ".continue/config.yaml", content),),
        notes=(f"It takes {KEY_VARIABLE} from `~/.continue/.env`.", _SESSION_NOTE),
    )


def _aider(url: str, model: str) -> Setup:
    content = f"openai-api-base: {url}/v1\nmodel: openai/{model}\n"
    return Setup(
        "aider",
        "Aider",
        environment=(("OPENAI_API_KEY", _FROM_ENVIRONMENT),),
        files=(TextFile(Place.PROJECT, ".aider.conf.yml", content),),
        run='aider --message "say hello"',
        notes=(_SESSION_NOTE,),
    )


def _python(name: str, title: str, package: str, program: Callable[[str, str], str]) -> Callable[[str, str], Setup]:
    """The setup of a Python library: a program that runs as it is."""

    def setup(url: str, model: str) -> Setup:
        path = f"ask_{name.replace('-', '_')}.py"
        file = TextFile(Place.PROJECT, path, program(url, model))
        return Setup(name, title, files=(file,), run=f"python {path}", notes=(f"Needs `pip install {package}`.",))

    return setup


def _openai(url: str, model: str) -> str:
    return f"""import os

from openai import OpenAI

client = OpenAI(
    base_url="{url}/v1",
    api_key=os.environ["{KEY_VARIABLE}"],
    default_headers={{"x-comptroller-session": "ticket-7"}},  # one run of one agent; leave it out for the key's own
)
answer = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "say hello"}}])
print(answer.choices[0].message.content)
"""


def _anthropic(url: str, model: str) -> str:
    return f"""import os

from anthropic import Anthropic

client = Anthropic(
    base_url="{url}",
    api_key=os.environ["{KEY_VARIABLE}"],
    default_headers={{"x-comptroller-session": "ticket-7"}},  # one run of one agent; leave it out for the key's own
)
answer = client.messages.create(
    model="{model}", max_tokens=1024, messages=[{{"role": "user", "content": "say hello"}}]
)
print(answer.content[0].text)
"""


def _google_genai(url: str, model: str) -> str:
    return f"""import os

from google import genai
from google.genai import types

client = genai.Client(
    api_key=os.environ["{KEY_VARIABLE}"],
    http_options=types.HttpOptions(
        base_url="{url}",
        headers={{"x-comptroller-session": "ticket-7"}},  # one run of one agent; leave it out for the key's own
    ),
)
answer = client.models.generate_content(model="{model}", contents="say hello")
print(answer.text)
"""


def _langchain(url: str, model: str) -> str:
    return f"""import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="{model}",
    base_url="{url}/v1",
    api_key=os.environ["{KEY_VARIABLE}"],
    default_headers={{"x-comptroller-session": "ticket-7"}},  # one run of one agent; leave it out for the key's own
)
print(model.invoke("say hello").content)
"""


def _pydantic_ai(url: str, model: str) -> str:
    return f"""import os

from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

client = AsyncOpenAI(
    base_url="{url}/v1",
    api_key=os.environ["{KEY_VARIABLE}"],
    default_headers={{"x-comptroller-session": "ticket-7"}},  # one run of one agent; leave it out for the key's own
)
agent = Agent(OpenAIChatModel("{model}", provider=OpenAIProvider(openai_client=client)))
print(agent.run_sync("say hello").output)
"""


SETUPS: Mapping[str, Callable[[str, str], Setup]] = {
    "claude-code": _claude_code,
    "codex": _codex,
    "gemini-cli": _gemini_cli,
    "qwen-code": _qwen_code,
    "opencode": _opencode,
    "cursor": _cursor,
    "copilot": _copilot,
    "continue": _continue,
    "aider": _aider,
    "langchain": _python("langchain", "LangChain", "langchain-openai", _langchain),
    "pydantic-ai": _python("pydantic-ai", "Pydantic AI", "pydantic-ai-slim[openai]", _pydantic_ai),
    "openai": _python("openai", "OpenAI SDK for Python", "openai", _openai),
    "anthropic": _python("anthropic", "Anthropic SDK for Python", "anthropic", _anthropic),
    "google-genai": _python("google-genai", "Google Gen AI SDK for Python", "google-genai", _google_genai),
}
