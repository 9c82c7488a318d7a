"""Start without a file."""

from gateway.settings.defaults import defaults

MODELS = {
    "openai": ("gpt-5-mini", "gpt-5"),
    "anthropic": ("claude-opus-5-5",),
    "gemini": ("gemini-3.8-flash",),
}


def test_rule_35_without_any_key_there_is_the_simulated_provider_with_prices() -> None:
    settings = defaults({}, MODELS).settings
    assert {name: provider.kind for name, provider in settings.providers.items()} == {"sim": "simulated"}
    assert list(settings.models) == ["sim-small", "sim-large"]
    for name, model in settings.models.items():
        assert model.targets(name) == (("sim", name),)
        assert model.price[0].input_picos_per_token > 0


def test_rule_35_a_provider_key_in_the_environment_is_taken_up() -> None:
    settings = defaults({"OPENAI_API_KEY": "canary", "COMPTROLLER_ADMIN_TOKEN": "canary-token"}, MODELS).settings
    assert list(settings.models) == list(MODELS["openai"])
    key, token = settings.providers["openai"].api_key, settings.admin.token
    assert key is not None
    assert token is not None
    assert (key.reveal(), token.reveal()) == ("canary", "canary-token")
    assert "canary" not in repr(settings)


def test_rule_35_all_provider_keys_of_the_environment_are_taken_up() -> None:
    settings = defaults(
        {"OPENAI_API_KEY": "canary", "ANTHROPIC_API_KEY": "canary-two", "GEMINI_API_KEY": "canary-three"}, MODELS
    ).settings
    assert {name: provider.kind for name, provider in settings.providers.items()} == {
        "openai": "openai",
        "anthropic": "anthropic",
        "gemini": "gemini",
    }
    assert settings.models["claude-opus-5-5"].targets("claude-opus-5-5") == (("anthropic", "claude-opus-5-5"),)


def test_rule_35_the_budgets_and_rates() -> None:
    settings = defaults({}, MODELS).settings
    seen = [(limit.each, limit.unit, limit.amount, limit.effective_window) for limit in settings.limits]
    assert seen == [
        ("session", "tokens", 2_000_000, "session"),
        ("session", "usd", 5_000_000, "session"),
        ("user", "usd", 20_000_000, "day"),
    ]
    assert settings.sessions.max_new_per_hour == 60
    assert (settings.loops.identical_requests, settings.loops.identical_tool_calls, settings.loops.action) == (
        5,
        6,
        "pause",
    )


def test_keys_of_providers_that_need_a_file_are_named_in_a_warning() -> None:
    environment = {"AZURE_OPENAI_API_KEY": "canary", "AWS_ACCESS_KEY_ID": "canary", "AWS_BEARER_TOKEN_BEDROCK": ""}
    loaded = defaults(environment, MODELS)
    assert [warning.message for warning in loaded.warnings] == [
        "`AWS_ACCESS_KEY_ID` is set, but Bedrock needs its region and models in a configuration file",
        "`AZURE_OPENAI_API_KEY` is set, but Azure OpenAI needs its address and deployments in a configuration file",
    ]
    assert "canary" not in repr(loaded)
    assert list(loaded.settings.providers) == ["sim"]
