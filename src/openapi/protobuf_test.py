#!/usr/bin/env python3
"""The protobuf form against protobuf's own implementation: protobuf_test.py OPENAPI_CAT GNOSTIC_V2.proto GNOSTIC_V3.proto

Decodes every .pb with the messages of the .proto files beside this test, refuses unknown fields, and compares the result with
the JSON of the same document, member by member. Exits 77 without protoc or python3-protobuf.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields
except ImportError:
    descriptor_pb2 = None


def camel(name):
    parts = name.split('_')
    return parts[0] + ''.join(p.title() for p in parts[1:])


KEYS = {'_ref': '$ref'}
# Messages that stand for a map, with the field that holds the pairs.
MAPS = {'Definitions', 'Properties', 'ParameterDefinitions', 'SecurityDefinitions', 'SecurityRequirement', 'MediaTypes',
        'SchemasOrReferences', 'SecuritySchemesOrReferences', 'Paths', 'Responses'}


def value(v):
    """What a decoded message is as JSON."""
    if not hasattr(v, 'DESCRIPTOR'):
        return v
    name = v.DESCRIPTOR.name
    if name == 'Any':
        return json.loads(v.yaml)
    fields = v.ListFields()
    if name in MAPS:
        return {p.name: value(p.value) for _, pairs in fields for p in pairs}
    if name == 'TypeItem':
        return v.value[0]
    if name == 'StringArray':
        return list(v.value)
    if name == 'ItemsItem':
        return value(fields[0][1][0])
    if name == 'DefaultType' and not fields:
        return {}
    if v.DESCRIPTOR.oneofs:  # stands for the one field that is set
        return value(fields[0][1])
    out = {}
    for f, x in fields:
        if f.name in ('vendor_extension', 'specification_extension'):
            out.update({p.name: value(p.value) for p in x})
        elif f.label == f.LABEL_REPEATED:
            out[KEYS.get(f.name, camel(f.name))] = [value(i) for i in x]
        else:
            out[KEYS.get(f.name, camel(f.name))] = value(x)
    return out


def known(m, where):
    if len(unknown_fields.UnknownFieldSet(m)):
        raise SystemExit('%s: unknown fields in %s' % (where, m.DESCRIPTOR.name))
    for f, x in m.ListFields():
        if f.message_type:
            for i in x if f.label == f.LABEL_REPEATED else [x]:
                known(i, where)


def differs(a, b, path=''):
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(set(a) | set(b)):
            if k not in a or k not in b:
                # proto3 does not carry false and empty
                if (a.get(k) or b.get(k)) not in (False, None, '', []):
                    return '%s/%s: only in %s' % (path, k, 'protobuf' if k in a else 'JSON')
                continue
            d = differs(a[k], b[k], path + '/' + k)
            if d:
                return d
        return None
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next(filter(None, (differs(x, y, '%s/%d' % (path, i)) for i, (x, y) in enumerate(zip(a, b)))), None)
    return None if a == b else '%s: protobuf %.200r, JSON %.200r' % (path, a, b)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    if not descriptor_pb2 or not shutil.which('protoc'):
        print('no protoc or python3-protobuf')
        sys.exit(77)
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.argv[1], tmp], check=True)
        pool = descriptor_pool.DescriptorPool()
        for proto in sys.argv[2:]:
            out = os.path.join(tmp, 'set')
            subprocess.run(['protoc', '-I', os.path.dirname(proto), '--descriptor_set_out=' + out, proto], check=True)
            files = descriptor_pb2.FileDescriptorSet()
            files.ParseFromString(open(out, 'rb').read())
            for f in files.file:
                pool.Add(f)
        factory = message_factory.MessageFactory(pool)
        n = 0
        for pb in sorted(glob.glob(tmp + '/openapi/**/*.pb', recursive=True) + glob.glob(tmp + '/openapi/v3/.well-known/*.pb')):
            version = 'v2' if pb.endswith('/openapi/v2.pb') else 'v3'
            doc = factory.GetPrototype(pool.FindMessageTypeByName('openapi.%s.Document' % version))()
            doc.ParseFromString(open(pb, 'rb').read())
            known(doc, pb)
            with open(pb[:-3] + '.json') as f:
                d = differs(value(doc), json.load(f))
            if d:
                sys.exit('%s: %s' % (pb[len(tmp):], d))
            subprocess.run(['protoc', '--decode_raw'], stdin=open(pb, 'rb'), stdout=subprocess.DEVNULL, check=True)
            n += 1
        print('%d documents are the same in both forms' % n)
        if n < 40:
            sys.exit('too few documents')


if __name__ == '__main__':
    main()
