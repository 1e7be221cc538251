"""ORT-format files in one order: equal models, equal bytes.

ONNX Runtime writes the model first and its table of kernels' types after it, in the order of a hash
map that changes with every call. FlatBuffers grow from the end to the front, so the table lies
before the model: it is written again, sorted, and the model's bytes stay as they are.
"""

import struct

import flatbuffers
import onnxruntime.tools.ort_format_model  # noqa: F401  its import makes the next one possible
from ort_flatbuffers_py.fbs import ArgTypeAndIndex, KernelTypeStrArgsEntry, KernelTypeStrResolver
from ort_flatbuffers_py.fbs import InferenceSession as Session
from ort_flatbuffers_py.fbs import OpIdKernelTypeStrArgsEntry as Entry

IDENTIFIER = b"ORTM"
_ALIGNMENT = 16


def in_order(data: bytes) -> bytes:
    """Rewrite an ORT-format file with its table of kernels' types sorted."""
    session = Session.InferenceSession.GetRootAs(data)
    model = session.Model()._tab.Pos
    start = min(model, model - struct.unpack_from("<i", data, model)[0])  # its vtable may be before
    builder = flatbuffers.Builder(len(data))
    builder.Prep(_ALIGNMENT, 0)
    kept = data[start:]
    builder.head -= len(kept)
    builder.Bytes[builder.head : builder.head + len(kept)] = kept
    place = len(data) - model
    resolver = _resolver(builder, session.KernelTypeStrResolver())
    version = builder.CreateString(session.OrtVersion())
    Session.Start(builder)
    Session.AddOrtVersion(builder, version)
    Session.AddModel(builder, place)
    Session.AddKernelTypeStrResolver(builder, resolver)
    builder.Finish(Session.End(builder), IDENTIFIER)
    return bytes(builder.Output())


def version_of(data: bytes) -> str:
    """Return the version of the format that a file is in, as "6"."""
    return str(Session.InferenceSession.GetRootAs(data).OrtVersion().decode())


def _resolver(
    builder: flatbuffers.Builder, old: KernelTypeStrResolver.KernelTypeStrResolver
) -> int:
    found = [old.OpKernelTypeStrArgs(i) for i in range(old.OpKernelTypeStrArgsLength())]
    made = []
    for one in sorted(found, key=lambda entry: entry.OpId()):
        types = [one.KernelTypeStrArgs(i) for i in range(one.KernelTypeStrArgsLength())]
        args = _vector(
            builder,
            [_type_args(builder, t) for t in sorted(types, key=lambda t: t.KernelTypeStr())],
        )
        name = builder.CreateString(one.OpId())
        Entry.Start(builder)
        Entry.AddOpId(builder, name)
        Entry.AddKernelTypeStrArgs(builder, args)
        made.append(Entry.End(builder))
    entries = _vector(builder, made)
    KernelTypeStrResolver.Start(builder)
    KernelTypeStrResolver.AddOpKernelTypeStrArgs(builder, entries)
    return int(KernelTypeStrResolver.End(builder))


def _type_args(
    builder: flatbuffers.Builder, old: KernelTypeStrArgsEntry.KernelTypeStrArgsEntry
) -> int:
    made = []
    for place in range(old.ArgsLength()):
        arg = old.Args(place)
        ArgTypeAndIndex.Start(builder)
        ArgTypeAndIndex.AddArgType(builder, arg.ArgType())
        ArgTypeAndIndex.AddIndex(builder, arg.Index())
        made.append(ArgTypeAndIndex.End(builder))
    args = _vector(builder, made)
    name = builder.CreateString(old.KernelTypeStr())
    KernelTypeStrArgsEntry.Start(builder)
    KernelTypeStrArgsEntry.AddKernelTypeStr(builder, name)
    KernelTypeStrArgsEntry.AddArgs(builder, args)
    return int(KernelTypeStrArgsEntry.End(builder))


def _vector(builder: flatbuffers.Builder, tables: list[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
