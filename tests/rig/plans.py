"""Plans for catalogue models on boards, and the page that explains them."""

from pathlib import Path

import click

from vedette.deploy.planning import Proposal
from vedette.deploy.proposing import propose
from vedette.report.explain import explain_plan
from vedette.report.paper import Paper
from vedette.settings.home import Home
from vedette.settings.load import read_settings

MODELS_ON_BOARDS = [
    ("cosmos-reason2-2b", "orin-nx-16gb"),
    ("cosmos-reason2-2b", "orin-nano-8gb"),
    ("vedette-tiny", "orin-nano-4gb"),
    ("Qwen2-7B-Instruct", "agx-orin-64gb"),
]
NEWEST = "docker.io/vllm/vllm-openai:v0.32.0"
"""An image whose vLLM can do all that a plan may ask for."""


def proposal_of(model: str, device: str, **wishes: object) -> Proposal:
    nowhere = Path("/nowhere")
    asked = read_settings({"model": model, **wishes}, {"HOME": "/nowhere"})
    return propose(asked, Home(nowhere, nowhere, nowhere), device)


def page(proposal: Proposal, columns: int = 80) -> str:
    return click.unstyle(explain_plan(proposal.plan, proposal.arguments, Paper(columns)))
