"""The document itself: each external method at each of its paths, with what goes in, what comes out and what fails."""

import json
import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from gateway.comments import comments
from gateway.contract import Binding, Contract, ContractError, Method
from gateway.openapi.examples import field_example, request_example
from gateway.openapi.schemas import Schema, Schemas
from gateway.reasons import HTTP_STATUS, SHARED, Reason, promised_by, reasons
from gateway.refusals import DOMAIN

TITLE = "Berth"
DESCRIPTION = (
    "Sells time and capacity without ever selling the same thing twice. Every error is a `google.rpc.Status` with one "
    "`ErrorInfo` whose `reason` programs can rely on; repeat a call that failed with 503, or without an answer, with "
    "the same `Idempotency-Key`."
)


def document(contract: Contract) -> Schema:
    """The OpenAPI 3.1 document of everything that REST reaches."""
    return _Document(contract).build()


def as_text(document: Schema) -> str:
    """The document as it is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


class _Document:
    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._texts = comments(contract.files)
        self._schemas = Schemas(contract, self._texts)
        self._reasons: dict[tuple[str, str], Reason] = {(r.owner, r.name): r for r in reasons(contract)}

    def build(self) -> Schema:
        paths: dict[str, Schema] = {}
        for method in self._contract.external_methods:
            for number, binding in enumerate(method.bindings):
                template = re.sub(r"\{([a-z_]+)\}", lambda match: "{" + _camel(match[1]) + "}", binding.template)
                paths.setdefault(template, {})[binding.verb.lower()] = self._operation(method, binding, number)
        services = {method.service: self._texts.get(method.service, "") for method in self._contract.external_methods}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": TITLE,
                "version": "v1",
                "description": DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "The gateway that this document was read from."}],
            "tags": [{"name": _tag(name), "description": text} for name, text in services.items()],
            "paths": dict(sorted(paths.items())),
            "components": {
                "schemas": dict(sorted((self._schemas.components | {"Error": _error_schema()}).items())),
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": "The access token that log-in and refresh answer.",
                    }
                },
            },
        }

    def _operation(self, method: Method, binding: Binding, number: int) -> Schema:
        text = self._texts.get(f"{method.service}.{method.name}", "")
        policy = method.policy
        operation: Schema = {
            "operationId": method.name[0].lower() + method.name[1:] + (str(number + 1) if number else ""),
            "summary": re.split(r"(?<=[.:;])\s", text, maxsplit=1)[0].rstrip(".:;"),
            "description": text,
            "tags": [_tag(method.service)],
            "security": [{"bearer": [policy.permission]}] if policy.access == "permission" else [],
            "parameters": [*self._path_parameters(method, binding), *self._query(method, binding), *_headers(method)],
        }
        if binding.has_body:
            operation["requestBody"] = self._body(method, binding)
        operation["responses"] = self._responses(method, text)
        operation["x-berth-method"] = f"{method.service}/{method.name}"
        operation["x-berth-access"] = policy.permission or policy.access
        operation["x-berth-deadline-seconds"] = policy.deadline.total_seconds()
        operation["x-berth-rate-class"] = policy.rate_class
        return operation

    def _path_parameters(self, method: Method, binding: Binding) -> list[Schema]:
        found = []
        for name in _variables(binding):
            field = method.descriptor.input_type.fields_by_name.get(name)
            if field is None:
                raise ContractError(f"{method.service}.{method.name}: its path names {name}, which its request lacks")
            found.append(self._parameter("path", field) | {"required": True})
        return found

    def _query(self, method: Method, binding: Binding) -> list[Schema]:
        if binding.has_body:
            return []
        elsewhere = _variables(binding)
        fields = [field for field in method.descriptor.input_type.fields if field.name not in elsewhere]
        return [self._parameter("query", field) for field in fields]

    def _parameter(self, place: str, field: FieldDescriptor) -> Schema:
        schema = self._schemas.field(field)
        parameter: Schema = {"name": field.json_name, "in": place}
        if text := schema.pop("description", ""):
            parameter["description"] = text
        parameter["schema"] = schema
        if place == "path":
            parameter["example"] = field_example(self._contract, field)
        return parameter

    def _body(self, method: Method, binding: Binding) -> Schema:
        if method.takes_bytes:
            return {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
        message = method.descriptor.input_type
        outside = set(_variables(binding))
        example = request_example(self._contract, method.name, message)
        shown = {name: value for name, value in example.items() if name not in {_camel(each) for each in outside}}
        content: Schema = {"schema": self._schemas.reference(message, outside), "example": shown}
        return {"required": bool(shown), "content": {"application/json": content}}

    def _responses(self, method: Method, text: str) -> Schema:
        success: Schema = {
            "description": self._texts.get(method.descriptor.output_type.full_name, "The answer."),
            "headers": {"X-Request-Id": {"description": "Names this call in every log.", "schema": {"type": "string"}}},
            "content": {"application/json": {"schema": self._schemas.reference(method.descriptor.output_type)}},
        }
        by_status: dict[int, list[Reason]] = {}
        for name in promised_by(method, text):
            reason = self._reasons.get((method.owner, name)) or self._reasons.get((SHARED, name))
            if reason is None:
                raise ContractError(f"{method.service}.{method.name} promises {name}, which no contract defines")
            by_status.setdefault(HTTP_STATUS[reason.code], []).append(reason)
        failures = {str(status): _failure(found) for status, found in sorted(by_status.items())}
        return {str(method.policy.http_success): success, **failures, "default": _failure([])}


def _failure(found: list[Reason]) -> Schema:
    told = "\n".join(f"- `{reason.name}`: {reason.description}" for reason in found)
    failure: Schema = {
        "description": told or "Any other error, in the same shape.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if any(reason.code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"} for reason in found):
        failure["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    if found:
        failure["x-berth-reasons"] = [
            {"reason": reason.name, "code": reason.code, "metadata": list(reason.metadata)} for reason in found
        ]
    return failure


def _headers(method: Method) -> list[Schema]:
    found: list[Schema] = []
    if method.policy.key_use != "KEY_USE_UNSPECIFIED":
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": method.policy.key_use == "REQUIRED",
                "description": "The same key and body give the same answer for at least 24 hours, however often sent.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
                "example": "5f0b9a52-6f0e-4a57-9a3f-2f6a3b1f7e11",
            }
        )
    if method.policy.access == "public" and not method.policy.no_tenant:
        found.append(
            {
                "name": "Berth-Tenant",
                "in": "header",
                "description": "The marketplace, where the host name does not tell; a token's own one wins.",
                "schema": {"type": "string", "maxLength": 40},
                "example": "demo",
            }
        )
    return found


def _error_schema() -> Schema:
    detail: Schema = {
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"type": "string"}},
        "additionalProperties": True,
    }
    example: dict[str, Any] = {
        "code": 5,
        "message": "The booking does not exist.",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "NOT_FOUND",
                "domain": DOMAIN,
                "metadata": {"resource": "booking"},
            },
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "0e9f…", "servingData": ""},
        ],
    }
    return {
        "type": "object",
        "description": "google.rpc.Status: exactly one detail is an ErrorInfo, whose reason programs can rely on.",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {"type": "integer", "description": "The gRPC status code."},
            "message": {"type": "string", "description": "A sentence for people."},
            "details": {"type": "array", "items": detail},
        },
        "examples": [example],
    }


def _variables(binding: Binding) -> list[str]:
    return re.findall(r"\{([a-z_]+)\}", binding.template)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _tag(service: str) -> str:
    return service.rpartition(".")[2].removesuffix("Service")
