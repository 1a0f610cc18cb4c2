"""`invoke infra.*`: Terraform modules."""

from invoke.collection import Collection
from invoke.context import Context

from ..errors import AbsentError, ConfigurationError, did_you_mean
from ..infra import terraform
from . import console
from .executor import fail, task

CLOUD = {"cloud": "module to run: aws, gcp or hetzner; default: all"}


def chosen(cloud: str | None, names: list[str]) -> list[str]:
    """Return the modules to run.

    Raises:
        ConfigurationError: there is no such module.
    """
    if cloud is None:
        return names
    if cloud not in names:
        raise ConfigurationError(
            f"there is no module {cloud!r} in infra/terraform",
            did_you_mean(cloud, names, f"there are {', '.join(names)}"),
        )
    return [cloud]


def each_module(cloud: str | None, verb: str, *words: str) -> None:
    """Run a Terraform command on copies of modules; continue after a module that fails.

    Raises:
        AbsentError: the provider of a module is not available, and no module failed.
    """
    failed, absent = [], []
    with terraform.workspace() as work:
        for module in chosen(cloud, terraform.modules()):
            try:
                if module in terraform.PROVIDERS:
                    work.configure(module, **terraform.PROVIDERS[module])
                work.init(module)
            except AbsentError as error:
                absent.append(error)
                console.say(f"ABSENT {module}: {error.message}")
                continue
            done = work.run(module, verb, "-no-color", *words)
            console.say(f"{'FAILED' if done.returncode else 'ok'} {verb} {module}")
            console.say((done.stdout + done.stderr).strip())
            failed += [module] if done.returncode else []
    if failed:
        fail(f"terraform {verb} failed in {', '.join(failed)}")
    if absent:
        raise AbsentError(f"modules that were not checked: {len(absent)}", absent[0].hint)


@task()
def fmt(_: Context) -> None:
    """Format the Terraform modules."""
    done = terraform.run_here("fmt", "-recursive")
    console.say(done or "all modules were formatted already")


@task(help=CLOUD)
def validate(_: Context, cloud: str | None = None) -> None:
    """Validate Terraform modules against their providers' schemas."""
    each_module(cloud, "validate")


@task(name="test", help=CLOUD)
def run_tests(_: Context, cloud: str | None = None) -> None:
    """Run the tests of Terraform modules, on mocks of their providers."""
    each_module(cloud, "test")


@task(help={"cloud": "module to plan: aws, gcp or hetzner"})
def plan(_: Context, cloud: str) -> None:
    """Plan a Terraform module with its dev.tfvars and your credentials; nothing is changed."""
    each_module(cloud, "plan", "-input=false", "-var-file=dev.tfvars")


infra = Collection("infra", fmt, validate, run_tests, plan)
