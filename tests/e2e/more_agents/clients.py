"""Agents written with LangChain and Pydantic AI, each in front of an OpenAI and an Anthropic model. They are texts
since their libraries are in an environment of their own."""

import functools
from pathlib import Path

from tests.e2e.agents.programs import Ran, homes, program, run
from tests.e2e.more_agents.runs import MODEL, MODEL_CLAUDE, Program
from tests.support.gateway import GatewayProcess

PYTHON = "../venv/bin/python"
QUIET = {"LANGSMITH_TRACING": "false", "PYTHONWARNINGS": "error::UserWarning"}

START = """
import os
import subprocess
import sys

url, model, session, prompt = sys.argv[1:]
key = os.environ["COMPTROLLER_API_KEY"]
headers = {"x-comptroller-session": session}


def run_command(command: str) -> str:
    "Runs a command."
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout or "done"

"""
LANGCHAIN = """
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

runner = tool(run_command)
agent = chat.bind_tools([runner])
said = [HumanMessage(prompt)]
while True:
    answer = None
    for chunk in agent.stream(said):
        print(chunk.text, end="", flush=True)
        answer = chunk if answer is None else answer + chunk
    if not answer.tool_calls:
        break
    said += [answer, *(runner.invoke(call) for call in answer.tool_calls)]
"""
LANGCHAIN_OPENAI = """
from langchain_openai import ChatOpenAI

chat = ChatOpenAI(model=model, base_url=f"{url}/v1", api_key=key, default_headers=headers)
"""
LANGCHAIN_ANTHROPIC = """
from langchain_anthropic import ChatAnthropic

chat = ChatAnthropic(model=model, base_url=url, api_key=key, default_headers=headers)
"""
PYDANTIC_AI = """
import asyncio

from pydantic_ai import Agent

agent = Agent(chat, tools=[run_command])


async def main() -> None:
    async with agent.run_stream(prompt) as result:
        async for text in result.stream_text(delta=True):
            print(text, end="", flush=True)


asyncio.run(main())
"""
PYDANTIC_AI_OPENAI = """
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, default_headers=headers)
chat = OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))
"""
PYDANTIC_AI_ANTHROPIC = """
from anthropic import AsyncAnthropic
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

client = AsyncAnthropic(base_url=url, api_key=key, default_headers=headers)
chat = AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))
"""


def _client(text: str, model: str, gateway: GatewayProcess, tmp_path: Path, prompt: str, *, key: str = "alice") -> Ran:
    home, project = homes(tmp_path)
    (project / "agent.py").write_text(text)
    command = [program(PYTHON), "agent.py", gateway.origin, model, tmp_path.name, prompt]
    return run(command, project, {**QUIET, "COMPTROLLER_API_KEY": gateway.keys[key]}, home=home)


def _agent(model: str, *parts: str) -> Program:
    text = START + "".join(parts)
    return Program(
        functools.partial(_client, text, model),
        lambda command: {"name": "run_command", "arguments": {"command": command}},
        (),
        (),
        "header",
        "/v1/messages" if model == MODEL_CLAUDE else "/v1/chat/completions",
        asks_again=False,
    )


CLIENTS = {
    "langchain-openai": _agent(MODEL, LANGCHAIN_OPENAI, LANGCHAIN),
    "langchain-anthropic": _agent(MODEL_CLAUDE, LANGCHAIN_ANTHROPIC, LANGCHAIN),
    "pydantic-ai-openai": _agent(MODEL, PYDANTIC_AI_OPENAI, PYDANTIC_AI),
    "pydantic-ai-anthropic": _agent(MODEL_CLAUDE, PYDANTIC_AI_ANTHROPIC, PYDANTIC_AI),
}
