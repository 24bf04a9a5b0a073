#!/usr/bin/python3
"""CRI's and etcd's messages against protobuf's own implementation: usage: wire_test.py WIRE_CAT SCHEMA_DIR

Makes .proto files from the schema files, compiles them with protoc, and sends random messages of every type, as Python's
protobuf serializes them, through our decoder and encoder: the bytes must come back, and the tree must hold the same values.
Exits 77 when protoc or Python's protobuf is not installed."""
import importlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile

SCHEMA = sys.argv[2]
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../tools/gen'))
import api_schema  # noqa: E402

try:
    import google.protobuf  # noqa: F401
except ImportError:
    print('skipped: python3-protobuf is not installed')
    sys.exit(77)
if not shutil.which('protoc'):
    print('skipped: protobuf-compiler is not installed')
    sys.exit(77)

schema = api_schema.read(SCHEMA)
RENAME = {'runtime.v1': 'cri'}  # our names of the packages


def proto_files(folder):
    """One .proto file a package, nested names inside their messages."""
    rows = schema.cri_messages + schema.etcd_messages
    packages = list(dict.fromkeys(r['package'] for r in rows))
    for pkg in packages:
        mine = [r for r in rows if r['package'] == pkg]
        names = list(dict.fromkeys([r['message'] for r in mine] + [n for _, p, n in schema.messages if p == pkg]))

        def block(name, level):
            pad = '  ' * level
            short = name.split('.')[-1]
            rs = [r for r in mine if r['message'] == name]
            if rs and rs[0]['label'] == 'enum':
                body = ['%s  %s_%s = %s;' % (pad, name.replace('.', '_'), r['field'], r['number']) for r in rs]
                return ['%senum %s {' % (pad, short)] + body + [pad + '}']
            out = ['%smessage %s {' % (pad, short)]
            for inner in names:
                if inner.rpartition('.')[0] == name:
                    out += block(inner, level + 1)
            oneofs = {}
            for r in rs:
                line = '%s  %s%s %s = %s;' % (pad, 'repeated ' if r['label'] == 'rep' else '', r['type'], r['field'], r['number'])
                if r['oneof']:
                    oneofs.setdefault(r['oneof'], []).append(line)
                else:
                    out.append(line)
            for o, lines in oneofs.items():
                out += ['%s  oneof %s {' % (pad, o)] + lines + [pad + '  }']
            return out + [pad + '}']
        text = ['syntax = "proto3";', 'package %s;' % pkg]
        text += ['import "%s.proto";' % p.replace('.', '_') for p in packages if p != pkg and any(r['type'].startswith(p + '.') for r in mine)]
        for name in names:
            if '.' not in name:
                text += block(name, 0)
        with open(os.path.join(folder, pkg.replace('.', '_') + '.proto'), 'w') as f:
            f.write('\n'.join(text) + '\n')
    return [p.replace('.', '_') for p in packages]


TEXT = ['', 'a', 'registry.example.com/x:1', 'käse', '\u20ac\U0001f600', 'x' * 200]
BYTES = [b'', b'\0', b'\xff\xfe\0a', bytes(range(256))]
NUMBERS = {'int32': [0, 1, -1, 127, 128, 2**31 - 1, -2**31], 'int64': [0, 1, -1, 300, 2**63 - 1, -2**63],
           'uint32': [0, 1, 2**32 - 1], 'uint64': [0, 1, 2**63, 2**64 - 1], 'bool': [False, True],
           'double': [0.0, 1.5, -2.25, 1e300, 1e-300]}


def fill(m, rnd, depth):
    from google.protobuf.descriptor import FieldDescriptor as F
    names = {F.TYPE_INT32: 'int32', F.TYPE_INT64: 'int64', F.TYPE_UINT32: 'uint32', F.TYPE_UINT64: 'uint64',
             F.TYPE_BOOL: 'bool', F.TYPE_DOUBLE: 'double'}
    for f in m.DESCRIPTOR.fields:
        if rnd.random() < 0.3:
            continue

        def value():
            if f.type == F.TYPE_STRING:
                return rnd.choice(TEXT)
            if f.type == F.TYPE_BYTES:
                return rnd.choice(BYTES)
            if f.type == F.TYPE_ENUM:
                return rnd.choice(f.enum_type.values).number
            return rnd.choice(NUMBERS[names[f.type]])
        if f.message_type and f.message_type.GetOptions().map_entry:
            for _ in range(rnd.randint(0, 4)):
                getattr(m, f.name)[rnd.choice(TEXT) + str(rnd.randint(0, 9))] = rnd.choice(TEXT)
        elif f.type == F.TYPE_MESSAGE:
            if depth > 4:
                continue
            if f.label == F.LABEL_REPEATED:
                for _ in range(rnd.randint(0, 3)):
                    fill(getattr(m, f.name).add(), rnd, depth + 1)
            else:
                getattr(m, f.name).SetInParent()
                fill(getattr(m, f.name), rnd, depth + 1)
        elif f.label == F.LABEL_REPEATED:
            getattr(m, f.name).extend(value() for _ in range(rnd.randint(0, 4)))
        else:
            setattr(m, f.name, value())


def tree(m):
    """What our tree must hold: present fields only, bytes as hex."""
    out = {}
    for f, v in m.ListFields():
        if f.message_type and f.message_type.GetOptions().map_entry:
            out[f.name] = dict(v)
        elif f.label == f.LABEL_REPEATED:
            out[f.name] = [scalar(f, x) for x in v]
        else:
            out[f.name] = scalar(f, v)
    return out


def scalar(f, v):
    return tree(v) if f.message_type else v.hex() if f.type == f.TYPE_BYTES else v


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=0, abs_tol=0)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return type(a) == type(b) and a == b


def messages_of(desc_list, package):
    for d in desc_list:
        if d.GetOptions().map_entry:
            continue
        yield d
        yield from messages_of(d.nested_types, package)


def main():
    rnd = random.Random(20261121)
    with tempfile.TemporaryDirectory() as folder:
        stems = proto_files(folder)
        subprocess.run(['protoc', '-I', folder, '--python_out', folder] + [s + '.proto' for s in stems], cwd=folder, check=True)
        sys.path.insert(0, folder)
        from google.protobuf import symbol_database
        cases = []
        for stem in stems:
            module = importlib.import_module(stem + '_pb2')
            for d in messages_of(list(module.DESCRIPTOR.message_types_by_name.values()), stem):
                cls = symbol_database.Default().GetPrototype(d)
                name = d.full_name
                for pkg, ours in RENAME.items():
                    if name.startswith(pkg + '.'):
                        name = ours + name[len(pkg):]
                for _ in range(20):
                    m = cls()
                    fill(m, rnd, 0)
                    cases.append((name, m.SerializeToString(deterministic=True), tree(m)))
    lines = ''.join('%s %s\n' % (n, b.hex()) for n, b, _ in cases)
    got = subprocess.run([sys.argv[1]], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    bad = 0
    if len(got) != len(cases):
        print('%d lines for %d messages' % (len(got), len(cases)))
        bad += 1
    for (name, wire, want), line in zip(cases, got):
        hexed, _, text = line.partition(' ')
        if line.startswith('error') or hexed != wire.hex():
            print('%s\n  want %s\n  have %s' % (name, wire.hex(), line))
            bad += 1
        elif not same(json.loads(text), want):
            print('%s\n  want %s\n  have %s' % (name, json.dumps(want), text))
            bad += 1
        if bad > 5:
            break
    print('%d messages of %d types, %d differ' % (len(cases), len({n for n, _, _ in cases}), bad))
    return 1 if bad else 0


sys.exit(main())
