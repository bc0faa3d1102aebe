"""The OpenAPI document is valid, complete, and its examples are requests that a service would take."""

import importlib
import json
from collections.abc import Iterator
from typing import Any

import protovalidate
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.contract import Contract
from scripts.gen import GENERATED

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    """The document as committed."""
    read: Document = json.loads((GENERATED / "openapi" / "berth.json").read_text(encoding="utf-8"))
    return read


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Every operation with its verb and path."""
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield verb.upper(), path, operation


def test_the_document_is_openapi(document: Document) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_every_external_method_is_there_and_no_other(contract: Contract, document: Document) -> None:
    served = {f"{method.service}/{method.name}" for method in contract.external_methods}
    assert {operation["x-berth-method"] for _, _, operation in operations(document)} == served


def test_names_are_unique(document: Document) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_security_follows_the_policy(contract: Contract, document: Document) -> None:
    policies = {f"{method.service}/{method.name}": method.policy for method in contract.external_methods}
    for _, path, operation in operations(document):
        permission = policies[operation["x-berth-method"]].permission
        assert operation["security"] == ([{"bearer": [permission]}] if permission else []), path


def test_everything_is_described(document: Document) -> None:
    silent = [path for _, path, operation in operations(document) if not operation["summary"]]
    silent += [name for name, schema in document["components"]["schemas"].items() if not schema.get("description")]
    for name, schema in document["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            if name != "Error" and "description" not in told:
                silent.append(f"{name}.{field}")
    assert silent == []


def test_examples_pass_their_schemas(document: Document) -> None:
    wrong = []
    for verb, path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            schema = content["schema"] | {"components": document["components"]}
            wrong += [
                f"{verb} {path}: {fault.message}"
                for fault in Draft202012Validator(schema).iter_errors(content["example"])
            ]
        for parameter in operation["parameters"]:
            if "example" in parameter:
                faults = Draft202012Validator(parameter["schema"]).iter_errors(parameter["example"])
                wrong += [f"{verb} {path} {parameter['name']}: {fault.message}" for fault in faults]
    assert wrong == []


def test_examples_pass_validation(contract: Contract, document: Document) -> None:
    requests = {f"{method.service}/{method.name}": method for method in contract.external_methods}
    wrong = []
    for verb, path, operation in operations(document):
        method = requests[operation["x-berth-method"]]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if verb == "GET" or method.takes_bytes:
            continue
        example = dict(content.get("example", {}))
        example |= {each["name"]: each["example"] for each in operation["parameters"] if each["in"] == "path"}
        request = json_format.ParseDict(example, _stub(method.descriptor.input_type.full_name))
        wrong += [f"{verb} {path}: {violation}" for violation in protovalidate.collect_violations(request)]
    assert wrong == []


def _stub(full_name: str) -> Message:
    """An empty message of the generated stubs; which module holds it is found by its package."""
    package, _, name = full_name.rpartition(".")
    folder = GENERATED / "python" / package.replace(".", "/")
    for file in sorted(folder.glob("*_pb2.py")):
        module = importlib.import_module(f"{package}.{file.stem}")
        if hasattr(module, name):
            message: Message = getattr(module, name)()
            return message
    raise LookupError(full_name)
