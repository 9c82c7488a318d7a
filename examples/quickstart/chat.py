"""The openai SDK against the gateway: a base URL and a virtual key are all that changes.

COMPTROLLER_URL=http://127.0.0.1:8080 COMPTROLLER_API_KEY=cptr_sk_... python chat.py
"""

import os

from openai import APIStatusError, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

MODEL = os.environ.get("MODEL", "sim-small")


def user(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


def main() -> None:
    client = OpenAI(base_url=f"{os.environ['COMPTROLLER_URL']}/v1", api_key=os.environ["COMPTROLLER_API_KEY"])
    print("models:", ", ".join(model.id for model in client.models.list()))

    reply = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=user("Why do budgets help? [words:20]")
    )
    print("answer:", reply.parse().choices[0].message.content)
    print("cost:", reply.headers["x-comptroller-cost-usd"], "USD")

    print("streamed: ", end="")
    for chunk in client.chat.completions.create(model=MODEL, messages=user("And limits? [words:12]"), stream=True):
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="")
    print()

    try:
        client.chat.completions.create(model="a-model-that-is-not-there", messages=user("Hello"))
    except APIStatusError as refused:
        error = refused.body if isinstance(refused.body, dict) else {}
        print(f"refused: HTTP {refused.status_code}, {refused.code}: {error.get('message')}")


if __name__ == "__main__":
    main()
