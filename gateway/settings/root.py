"""The whole configuration."""

from gateway.settings.alerts import Alerts
from gateway.settings.capacity import Capacity
from gateway.settings.fields import Items, Named, section, setting
from gateway.settings.limits import Limit
from gateway.settings.mcp import Mcp
from gateway.settings.principals import Agent, App, Key, Service, Team, User
from gateway.settings.providers import Model, PriceBook, Provider
from gateway.settings.routes import Route
from gateway.settings.runs import Loops, Sessions
from gateway.settings.section import Section
from gateway.settings.server import (
    Admin,
    Counters,
    Estimates,
    Idempotency,
    Policy,
    Server,
    Sizes,
    Storage,
    Telemetry,
    Timeouts,
    Tools,
    UpstreamClient,
)


class Settings(Section):
    """Everything that `comptroller.yaml` can say. All of it has a default but the names that it declares."""

    server: Server = section(Server, "Where the gateway listens.")
    upstream: UpstreamClient = section(UpstreamClient, "How it talks to providers.")
    storage: Storage = section(Storage, "The books.")
    counters: Counters = section(Counters, "The hot counters.")
    policy: Policy = section(Policy, "Authorization by Casbin.")
    admin: Admin = section(Admin, "The admin API.")
    providers: Named[Provider] = setting({}, "Providers by name.")
    models: Named[Model] = setting({}, "The model names that clients use.")
    prices: PriceBook = section(PriceBook, "What models cost.")
    estimates: Estimates = section(Estimates, "What a call is taken to use before it is sent.")
    teams: Named[Team] = setting({}, "Declared attributes of teams.")
    users: Named[User] = setting({}, "Declared attributes of users.")
    apps: Named[App] = setting({}, "Declared attributes of apps.")
    services: Named[Service] = setting({}, "Declared attributes of services.")
    agents: Named[Agent] = setting({}, "Declared attributes of agents.")
    keys: Items[Key] = setting((), "Keys that the file declares; others are made at run time.")
    limits: Items[Limit] = setting((), "Every limit that matches a call binds it.")
    routes: Items[Route] = setting((), "Calls that go to another model; the first route that takes one decides.")
    sessions: Sessions = section(Sessions, "Runs of agents.")
    loops: Loops = section(Loops, "When a session is taken to run in circles.")
    idempotency: Idempotency = section(Idempotency, "Requests with an Idempotency-Key.")
    alerts: Alerts = section(Alerts, "What operators are told, and how.")
    capacity: Capacity = section(Capacity, "What providers can take, shared out among tenants.")
    tools: Tools = section(Tools, "Tools that model calls declare.")
    mcp: Mcp = section(Mcp, "Tool servers.")
    timeouts: Timeouts = section(Timeouts, "How long things may take.")
    sizes: Sizes = section(Sizes, "How large things may be.")
    telemetry: Telemetry = section(Telemetry, "What is logged.")
