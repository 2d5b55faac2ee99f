"""`eventmesh explain`: what a mapping would do with an event: filters, batches, failures. Nothing
is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from eventmesh.cli.loading import fail, file_option, load_or_exit

if TYPE_CHECKING:
    from eventmesh.config.loader import LoadedConfig, MappingConfig
    from eventmesh.pulling import PullOptions


@click.command()
@click.argument("mapping")
@file_option
@click.option("-e", "--event", "source", required=True, help="A file with an event, or -.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(mapping: str, file: Path, source: str, as_json: bool) -> None:
    """Explain what MAPPING (a queue or stream; its name or its function's) would do with an event.

    \b
    Examples:
      eventmesh explain worker -e order.json
      eventmesh generate-event sqs | eventmesh explain worker/sqs:orders -e -
    """
    config = load_or_exit(file)
    found = _find(config, mapping)
    verdicts = _verdicts(found, _read(source))
    facts = {"mapping": found.name, "records": verdicts, **_rules(found)}
    if as_json:
        click.echo(orjson.dumps(facts))
        return
    click.echo(f"{found.name}")
    for verdict in verdicts:
        click.echo(f"  record {verdict['record']}: {verdict['verdict']}")
        for reason in verdict["reasons"]:
            click.echo(f"    {reason}")
    for name, text in _rules(found).items():
        click.echo(f"  {name:<10} {text}")


def _find(config: LoadedConfig, name: str) -> MappingConfig:
    from eventmesh.pulling import PullOptions

    pulled = [m for m in config.mappings if isinstance(m.options, PullOptions)]
    found = [m for m in pulled if name in (m.name, m.function)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(m.name for m in pulled) or "none"
    problem = f"several mappings belong to '{name}'" if found else f"no queue or stream '{name}'"
    fail(f"{problem}; mappings: {listed}")


def _read(source: str) -> Any:
    try:
        with click.open_file(source, "rb") as stream:
            return orjson.loads(stream.read())
    except (OSError, orjson.JSONDecodeError) as error:
        fail(f"{source}: {error}")


def _verdicts(mapping: MappingConfig, event: Any) -> list[dict[str, Any]]:
    """One verdict a record: whether the handler gets it, else why no pattern matches."""
    from eventmesh.cli.event_records import fields_of, records_of
    from eventmesh.mappings.filters import compile_filters, explain_pattern

    options: PullOptions = mapping.options  # type: ignore[assignment]
    try:
        records = records_of(event)
        passes = compile_filters(options.filters)
    except ValueError as error:
        fail(str(error))
    verdicts = []
    for number, record in enumerate(records, 1):
        fields = fields_of(record)
        matches = passes is None or passes(fields)
        reasons = (
            []
            if matches
            else [
                f"filter {index}: {mismatch.path} wants {mismatch.wanted}, found {mismatch.found}"
                for index, pattern in enumerate(options.filters, 1)
                for mismatch in explain_pattern(pattern, fields)
            ]
        )
        verdict = "the handler gets it" if matches else "filtered out"
        verdicts.append({"record": number, "verdict": verdict, "reasons": reasons})
    return verdicts


def _rules(mapping: MappingConfig) -> dict[str, str]:
    """How records are batched, what a failure costs and where it goes."""
    options: PullOptions = mapping.options  # type: ignore[assignment]
    window = options.maximum_batching_window
    batches = f"up to {options.batch_size} records or 6 MB"
    retries = options.maximum_retry_attempts
    age = options.maximum_record_age
    return {
        "batches": batches + (f", gathered for up to {window:g} s" if window else ", sent at once"),
        "failures": "the records named in batchItemFailures"
        if options.report_batch_item_failures
        else "the whole batch"
        + (
            ", halved until the bad record is alone"
            if options.bisect_batch_on_function_error
            else ""
        ),
        "retries": "for ever" if retries < 0 else f"{retries}, then given up",
        "age": "any" if age < 0 else f"given up when older than {age:g} s",
        "given up": f"recorded in {mapping.on_failure.connector} {mapping.on_failure.resource}"
        if mapping.on_failure
        else "nowhere recorded: set on_failure to keep what is given up",
    }
