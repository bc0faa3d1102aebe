"""The contracts' comments, which are the texts of the API page, by the full name of what they describe."""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

# Field numbers of descriptor.proto by which a comment's place is given.
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 4, 5, 6
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM = 2, 3, 4
ENUM_VALUE = SERVICE_METHOD = 2

Place = tuple[int, ...]


def comments(files: FileDescriptorSet) -> dict[str, str]:
    """Full name to comment, each as one paragraph; empty where the set was made without comments."""
    found: dict[str, str] = {}
    for file in files.file:
        texts = {
            tuple(location.path): _paragraph(location.leading_comments)
            for location in file.source_code_info.location
            if location.leading_comments
        }
        for place, name in _places(file):
            if place in texts:
                found[name] = texts[place]
    return found


def _paragraph(comment: str) -> str:
    return " ".join(comment.split())


def _places(file: FileDescriptorProto) -> Iterator[tuple[Place, str]]:
    yield from _messages(file.message_type, (FILE_MESSAGE,), file.package)
    yield from _enums(file.enum_type, (FILE_ENUM,), file.package)
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (FILE_SERVICE, index), name
        for number, method in enumerate(service.method):
            yield (FILE_SERVICE, index, SERVICE_METHOD, number), f"{name}.{method.name}"


def _messages(messages: Iterable[DescriptorProto], place: Place, scope: str) -> Iterator[tuple[Place, str]]:
    for index, message in enumerate(messages):
        here, name = (*place, index), f"{scope}.{message.name}"
        yield here, name
        for number, field in enumerate(message.field):
            yield (*here, MESSAGE_FIELD, number), f"{name}.{field.name}"
        yield from _messages(message.nested_type, (*here, MESSAGE_NESTED), name)
        yield from _enums(message.enum_type, (*here, MESSAGE_ENUM), name)


def _enums(enums: Iterable[EnumDescriptorProto], place: Place, scope: str) -> Iterator[tuple[Place, str]]:
    for index, enum in enumerate(enums):
        here, name = (*place, index), f"{scope}.{enum.name}"
        yield here, name
        for number, value in enumerate(enum.value):
            # Written under the enum, not beside it as protobuf scopes it: two enums may share a value's name.
            yield (*here, ENUM_VALUE, number), f"{name}.{value.name}"
