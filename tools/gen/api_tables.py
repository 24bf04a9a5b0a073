#!/usr/bin/env python3
"""Makes the C tables of src/api/rows.h from the schema files: usage: api_tables.py SCHEMA_DIR OUT.c"""
import re
import sys

import api_schema
from api_schema import label

MASK = (1 << 64) - 1
FLAG = {n: 1 << i for i, n in enumerate(['ATOMIC', 'GRANULAR', 'CUSTOM', 'PRESERVE', 'EMBEDDED', 'NULLABLE', 'WRAPPED',
                                         'PROTO3', 'TOP', 'IS_LIST', '32BIT', 'NO_WIRE'])}
FIELD = {n: 1 << i for i, n in enumerate(['OMITEMPTY', 'POINTER', 'OPTIONAL', 'REQUIRED', 'NO_WIRE', 'HIDDEN', 'ONEOF',
                                          'PATCH_MERGE', 'PATCH_REPLACE', 'RETAIN_KEYS', 'INLINED'])}
WIRE_INLINE, WIRE_POINTER, WIRE_ONEOF = 1, 2, 4
LISTS = {'': 0, 'atomic': 1, 'set': 2, 'map': 3}
SCALARS = {'string': 'STRING', 'int32': 'INT32', 'int64': 'INT64', 'uint64': 'UINT64', 'uint32': 'UINT64', 'bool': 'BOOL',
           'double': 'DOUBLE', 'bytes': 'BYTES', 'blob': 'BLOB', 'time': 'TIME', 'microtime': 'MICROTIME',
           'duration': 'DURATION', 'quantity': 'QUANTITY', 'intorstring': 'INTORSTRING', 'raw': 'RAW', 'any': 'ANY'}
GO_SCALAR = {'bytes': '[]uint8', 'blob': '[]uint8', 'time': 'v1.Time', 'microtime': 'v1.MicroTime', 'double': 'float64',
             'duration': 'v1.Duration', 'quantity': 'resource.Quantity', 'intorstring': 'intstr.IntOrString',
             'raw': 'runtime.RawExtension', 'any': 'interface {}'}
GO_PACKAGE = {'quantity': 'resource', 'cri': 'v1'}
VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
UNIONS = {'JSONSchemaPropsOrArray': 0, 'JSONSchemaPropsOrBool': 1, 'JSONSchemaPropsOrStringArray': 2}
FIELDS_MAX = 64


def name_hash(text):
    p = text.encode()
    n, a, b = len(p), 0, 0
    if n >= 8:
        a, b = int.from_bytes(p[:8], 'little'), int.from_bytes(p[n - 8:], 'little')
    elif n >= 4:
        a = int.from_bytes(p[:4], 'little') | int.from_bytes(p[n - 4:], 'little') << 32
    elif n:
        a = p[0] | p[n // 2] << 8 | p[n - 1] << 16
    return (a ^ (b * 0x9e3779b97f4a7c15) ^ (n * 0xc2b2ae3d27d4eb4f)) & MASK


def name_slot(h, seed, bits):
    return (((h ^ (h >> 29) ^ (seed << 17)) * 0xff51afd7ed558ccd) & MASK) >> (64 - bits)


def fit(n, bits):
    """A number of a row, which must fit into its field of rows.h."""
    if not 0 <= n < 1 << bits:
        sys.exit('%d does not fit into %d bits (src/api/rows.h)' % (n, bits))
    return n


class Pool:
    """All strings once. Of the strings of a first pass the tail of a longer one serves a shorter one."""

    def __init__(self, known=()):
        self.at, self.data = {}, bytearray(b'\0')
        longer = None
        for s in sorted(known, key=lambda s: s.encode()[::-1], reverse=True):  # whose tail it is stands right before
            if longer is not None and longer.encode().endswith(s.encode()):
                self.at[s] = self.at[longer] + len(longer.encode()) - len(s.encode())
            else:
                self.add(s)
            longer = s

    def add(self, text):
        if text not in self.at:
            self.at[text] = len(self.data)
            self.data += text.encode() + b'\0'
        return self.at[text]

    def text(self, s):
        at, n = (self.add(s), len(s.encode())) if s else (0, 0)
        return '{%s,%s}' % (fit(at, 20), fit(n, 12))


class Tables:
    def __init__(self, schema, known=()):
        self.s = schema
        self.pool = Pool(known)
        self.types, self.index = [], {}
        self.fields, self.cold, self.wire, self.hash, self.keys = [], ['{}'], [], [], []
        self.struct_rows = {label(r['group'], r['version']) + '.' + r['type']: r for r in schema.structs}
        self.struct_fields = {}
        for r in schema.types:
            self.struct_fields.setdefault(label(r['group'], r['version']) + '.' + r['type'], []).append(r)
        self.make_enums()
        for k in SCALARS:
            if k not in ('uint32',):
                self.scalar(k)
        for name in self.struct_rows:
            self.struct(name)
        self.make_messages()
        self.make_resources()

    # -------------------------------------------------- types
    def new_type(self, key, **row):
        self.index[key] = len(self.types)
        base = dict(kind='STRING', list=0, flags=0, union=0, elem=None, keys=None, name='', go='', fields=None, wire=None)
        base.update(row)
        self.types.append(base)
        return self.index[key]

    def scalar(self, kind):
        if ('s', kind) in self.index:
            return self.index['s', kind]
        flags = FLAG['32BIT'] if kind == 'uint32' else 0
        return self.new_type(('s', kind), kind=SCALARS[kind], name=kind, go=GO_SCALAR.get(kind, kind), flags=flags)

    def go(self, i):
        t = self.types[i]
        return t['go'] or t['name']

    def go_struct(self, name):
        pkg, _, typ = name.rpartition('.')
        last = pkg.split('/')[-1]
        return GO_PACKAGE.get(last, last) + '.' + typ

    def struct(self, name, atomic=''):
        row = self.struct_rows[name]
        own = row['struct_type']
        key = ('o', name, atomic if atomic != own else own)
        if key in self.index:
            return self.index[key]
        shape = row['json_shape']
        if shape != 'struct':
            kind = shape.split(':')[0]
            return self.union(name) if kind == 'union' else self.scalar(kind)
        flags = {'': 0, 'atomic': FLAG['ATOMIC'], 'granular': FLAG['GRANULAR']}[key[2]]
        flags |= FLAG['IS_LIST'] if row['is_list'] == 'y' else 0
        flags |= FLAG['TOP'] if row['is_object'] == 'y' else 0
        flags |= FLAG['NO_WIRE'] if row['has_proto'] == 'n' else 0
        return self.new_type(key, kind='OBJECT', name=name, go=self.go_struct(name), flags=flags, fields=name)

    def union(self, name):
        key = ('u', name)
        if key in self.index:
            return self.index[key]
        i = self.new_type(key, kind='UNION', name=name, go=self.go_struct(name), union=UNIONS[name.split('.')[-1]])
        self.types[i]['elem'] = self.struct('apiextensions/v1.JSONSchemaProps')
        return i

    def list(self, elem, list_type='', keys='', wrapped=False, go=''):
        key = ('l', elem, list_type, keys, wrapped, go)
        if key in self.index:
            return self.index[key]
        flags = (FLAG['ATOMIC'] if list_type == 'atomic' else 0) | (FLAG['WRAPPED'] if wrapped else 0)
        text = go or '[]' + self.go(elem)
        return self.new_type(key, kind='LIST', elem=elem, list=LISTS[list_type], flags=flags, name=text, go=text,
                             keys=keys.split(',') if keys else None)

    def map(self, elem, map_type='', go=''):
        key = ('m', elem, map_type, go)
        if key in self.index:
            return self.index[key]
        flags = {'': 0, 'atomic': FLAG['ATOMIC'], 'granular': FLAG['GRANULAR']}[map_type]
        text = go or 'map[string]' + self.go(elem)
        return self.new_type(key, kind='MAP', elem=elem, flags=flags, name=text, go=text)

    def field_type(self, r):
        kind, named = r['kind'], r['named_type']
        go = self.go_struct(named) if named else ''
        enum = r['enum_type']
        m = re.match(r'list<(.*)>$', kind)
        if m:
            if not go and enum:
                go = '[]' + self.go_struct(enum)
            return self.list(self.plain(m[1]), r['list_type'], r['list_map_keys'], r['proto_label'] == 'opt', go)
        m = re.match(r'map<string,(.*)>$', kind)
        if m:
            inner = re.match(r'list<(.*)>$', m[1])
            if inner:  # map of string lists: the lists are messages of their own on the wire
                usual = r['proto_type'] in ('', 'map<string,%s>' % api_schema.derive_proto(m[1])[1])
                value = re.match(r'map<string,(.*)>$', r['proto_type'])
                elem = self.list(self.plain(inner[1]), wrapped=not usual,
                                 go='' if usual else self.go_struct(value[1]))
                return self.map(elem, r['map_type'], 'map[string]' + self.go(elem))
            return self.map(self.plain(m[1]), r['map_type'], go)
        if kind.startswith('object:') and self.struct_rows[kind[7:]]['json_shape'] == 'struct':
            return self.struct(kind[7:], r['map_type'])
        return self.plain(kind)

    def plain(self, kind):
        m = re.match(r'list<(.*)>$', kind)
        if m:
            return self.list(self.plain(m[1]))
        if kind.startswith('object:'):
            return self.struct(kind[7:], self.struct_rows[kind[7:]]['struct_type'])
        if kind.startswith('union:'):
            return self.union(kind[6:])
        return self.scalar(kind)

    # -------------------------------------------------- enums
    def make_enums(self):
        values = {}
        for v in self.s.enums:
            if '/' not in v['enum_type']:
                values.setdefault(label(v['group'], v['version']) + '.' + v['enum_type'], []).append(v['value'])
        alias = {}
        rows = {}
        for n in self.s.named_types:
            name = label(n['group'], n['version']) + '.' + n['name']
            if n['kind'] == 'string':
                rows[name] = (n['enum_marker'] == 'y', values.get(name, []))
                if n['alias_or_named'] == 'alias':
                    alias[name] = label(n['group'], n['version']) + '.' + n['underlying']
        for a, target in alias.items():
            rows[a] = (rows[a][0], rows[target][1])
        self.enums = sorted(rows.items(), key=lambda e: e[0].encode())
        self.enum_index = {name: i for i, (name, _) in enumerate(self.enums)}

    # -------------------------------------------------- fields
    def flat(self, name):
        """Fields as JSON has them: (row, index of the inlined struct's wire number or None), Go's order."""
        out = []
        for r in self.struct_fields.get(name, []):
            if r['field'].startswith('~'):
                continue
            if r['inline'] == 'y':
                out += [(f, True) for f, _ in self.flat(r['kind'][7:])]
            else:
                out.append((r, False))
        names = [f['field'] for f, _ in out]
        if len(set(names)) != len(names) or len(names) > FIELDS_MAX:
            sys.exit('%s: two fields of one name, or too many' % name)
        return out

    def always(self, r):
        """Does Go's JSON hold this field even when it was never set?"""
        if r['omitempty'] == 'n':
            return 1
        if r['pointer'] == 'y':
            return 0
        kind = r['kind']
        return int(kind.startswith(('object:', 'union:')) or
                   kind in ('time', 'microtime', 'duration', 'quantity', 'intorstring', 'raw'))

    def cold_row(self, merge='', default='', go='', oneof='', markers='', enum=None):
        if not any((merge, default, go, oneof, markers)) and enum is None:
            return 0
        t = self.pool.text
        self.cold.append('{%s,%s,%s,%s,%s,%d}' % (t(merge), t(default), t(go), t(oneof), t(markers),
                                                  0 if enum is None else enum + 1))
        return len(self.cold) - 1

    def add_fields(self, rows):
        """rows: (name, type, num, flags, always, cold dict); gives (first, bits, seed, first slot)."""
        first = len(self.fields)
        names = [r[0] for r in rows]
        for name, typ, num, flags, always, cold in rows:
            self.fields.append('{%d,%d,%d,%d,%d,%d,%d}' % (len(name), self.pool.add(name) * 2 + 1, fit(flags, 16), typ * 2 + 1, num,
                               fit(self.cold_row(**cold), 16), always))
        bits = 1
        while 1 << bits < 2 * len(names):
            bits += 1
        hashes = [name_hash(n) for n in names]
        best = (10 ** 9, 0, None)
        for seed in range(1, 400):
            slots, cost = [0] * (1 << bits), 0
            for i, h in enumerate(hashes):
                at = name_slot(h, seed, bits)
                while slots[at]:
                    at = (at + 1) % len(slots)
                    cost += 1
                slots[at] = i + 1
            if cost < best[0]:
                best = (cost, seed, slots)
            if cost == 0:
                break
        at = len(self.hash)
        self.hash += best[2]
        return first, bits, best[1], at

    def finish_struct(self, t):
        name = t['fields']
        if name in self.done:
            t.update(self.done[name])
            return
        rows = []
        for r, inlined in self.flat(name):
            flags = (FIELD['OMITEMPTY'] if r['omitempty'] == 'y' else 0) | (FIELD['POINTER'] if r['pointer'] == 'y' else 0)
            flags |= FIELD['OPTIONAL'] if r['optional_marker'] == 'y' else 0
            flags |= FIELD['REQUIRED'] if r['omitempty'] == 'n' and r['optional_marker'] == 'n' else 0
            flags |= FIELD['NO_WIRE'] if not r['proto_num'] else 0
            flags |= FIELD['INLINED'] if inlined else 0
            for s in filter(None, r['patch_strategy'].split(',')):
                flags |= FIELD[{'merge': 'PATCH_MERGE', 'replace': 'PATCH_REPLACE', 'retainKeys': 'RETAIN_KEYS'}[s]]
            go = '' if r['go_field'] == r['field'][:1].upper() + r['field'][1:] else r['go_field']
            rows.append((r['field'], self.field_type(r), int(r['proto_num'] or 0), flags, self.always(r),
                         dict(merge=r['patch_merge_key'], default=r['default'], go=go,
                              markers=r['other_markers'], enum=self.enum_index.get(r['enum_type']))))
        wire, at = [], 0
        for r in self.struct_fields.get(name, []):
            if r['field'].startswith('~'):
                continue
            if r['inline'] == 'y':
                if r['proto_num']:
                    wire.append((int(r['proto_num']), at, WIRE_INLINE, self.struct(r['kind'][7:])))
                at += len(self.flat(r['kind'][7:]))
                continue
            if r['proto_num']:
                wire.append((int(r['proto_num']), at, WIRE_POINTER if r['pointer'] == 'y' else 0, self.field_type(r)))
            at += 1
        self.finish(t, rows, wire)
        self.done[name] = {k: t[k] for k in ('n', 'first', 'bits', 'seed', 'slots', 'n_wire', 'wire_at')}

    def finish(self, t, rows, wire):
        t['n'] = len(rows)
        t['first'], t['bits'], t['seed'], t['slots'] = self.add_fields(rows) if rows else (0, 0, 0, 0)
        t['n_wire'], t['wire_at'] = len(wire), len(self.wire)
        wire.sort()
        self.wire += ['{%d,%d,%d,%d}' % (fit(num, 8), fit(at, 7), fit(flags, 3), fit(typ, 14)) for num, at, flags, typ in wire]

    # -------------------------------------------------- CRI and etcd
    def make_messages(self):
        self.message_rows = {}
        enums = {}
        rows = [('cri', r) for r in self.s.cri_messages] + [('etcd', r) for r in self.s.etcd_messages]
        prefix = lambda p: 'cri' if p == 'runtime.v1' else p
        for _, r in rows:
            full = prefix(r['package']) + '.' + r['message']
            if r['label'] == 'enum':
                enums[full] = True
        for stem, pkg, name in self.s.messages:
            full = prefix(pkg) + '.' + name
            self.message_rows[full] = []
            self.new_type(('o', full, ''), kind='OBJECT', name=full, go=full, flags=FLAG['PROTO3'], fields=full)
        for _, r in rows:
            if r['label'] != 'enum':
                self.message_rows[prefix(r['package']) + '.' + r['message']].append(r)

        def resolve(pkg, message, typ):
            if typ[:1].islower() and '.' not in typ:
                return self.scalar('blob' if typ == 'bytes' else typ)
            for full in (pkg + '.' + message + '.' + typ, pkg + '.' + typ, typ):
                if full in enums:
                    return self.scalar('int32')
                if full in self.message_rows:
                    return self.index['o', full, '']
            sys.exit('%s.%s: unknown type %s' % (pkg, message, typ))
        self.resolve_message = lambda full, typ: resolve(full.split('.')[0], full.split('.', 1)[1], typ)
        self.message_enums = enums

    def finish_message(self, t):
        rows, wire = [], []
        for i, r in enumerate(self.message_rows[t['fields']]):
            flags = FIELD['OMITEMPTY'] | FIELD['OPTIONAL'] | (FIELD['ONEOF'] if r['oneof'] else 0)
            if r['label'] == 'map':
                m = re.match(r'map<string,(.*)>$', r['type'])
                typ = self.map(self.resolve_message(t['fields'], m[1].strip()))
            else:
                typ = self.resolve_message(t['fields'], r['type'])
                if r['label'] == 'rep':
                    typ = self.list(typ)
                elif self.types[typ]['kind'] == 'OBJECT':
                    flags |= FIELD['POINTER']
            rows.append((r['field'], typ, int(r['number']), flags, 0, dict(oneof=r['oneof'])))
            w = WIRE_POINTER if flags & FIELD['POINTER'] else 0
            wire.append((int(r['number']), i, w | (WIRE_ONEOF if r['oneof'] else 0), typ))
        self.finish(t, rows, wire)

    # -------------------------------------------------- resources
    def make_resources(self):
        s, p = self.s, self.pool
        group_of = {(g['group'], g['version']): g['api_group'] for g in s.groups}
        short = {(g['api_group'], g['version']): label(g['group'], g['version']) for g in s.groups}
        bits = lambda v: sum(1 << VERBS.index(x) for x in v.split(',')) if v else 0
        order = {(g['api_group'], g['version']): (-int(g['group_priority_minimum']), g['api_group'], -int(g['version_priority']))
                 for g in s.group_priorities}
        served = [(group_of[r['group'], r['version']], r['version']) for r in s.resources]
        # Without an APIService of a known priority: the aggregator puts its own group before all others of /apis;
        # metrics-server asks for 100.
        rank = {'apiregistration.k8s.io': -17900}
        for g in served:
            order.setdefault(g, (rank.get(g[0], -100), g[0], 0))
        self.groups = sorted(set(served), key=lambda g: order[g])
        priority = {(g['api_group'], g['version']): (int(g['group_priority_minimum']), int(g['version_priority']))
                    for g in s.group_priorities}
        self.group_rows = ['{%s,%s,%d,%d}' % ((p.text(g[0]), p.text(g[1])) + priority.get(g, (0, 0))) for g in self.groups]
        self.resources, self.subs, self.columns, self.selectors = [], [], [], []
        kinds = {}
        for c in s.table_columns:  # those of one kind stand together
            kinds.setdefault(label(c['group'], c['version']) + '.' + c['kind'], []).append(c)
        column_range = {}
        for name, columns in kinds.items():
            column_range[name] = (len(self.columns), len(columns))
            for c in columns:
                self.columns.append('{%s,%s,%s,%s,%s}' % (p.text(c['name']), p.text(c['type']), p.text(c['format']),
                                    p.text(c['cell_json']), c['priority']))  # what it shows stands in cells.c
        self.column_kinds = ['{%s,%d,%d}' % ((p.text(n),) + column_range[n]) for n in sorted(kinds, key=str.encode)]
        prefix = {'runtime.v1': 'cri'}
        self.rpcs = []
        for r in sorted(s.cri_rpcs + s.etcd_rpcs, key=lambda r: (r['package'], r['service'], r['method'])):
            def message(name):
                full = name if name in self.message_rows else prefix.get(r['package'], r['package']) + '.' + name
                return self.index['o', full, '']
            self.rpcs.append((('/%s.%s/%s' % (r['package'], r['service'], r['method'])).encode(), '{%s,%d,%d,%d,%d}' % (
                p.text('/%s.%s/%s' % (r['package'], r['service'], r['method'])), message(r['request']), message(r['response']),
                r['request_stream'] == 'y', r['response_stream'] == 'y')))
        self.rpcs = [t for _, t in sorted(self.rpcs)]
        find = lambda full: self.struct(full, self.struct_rows[full]['struct_type']) + 1 if full in self.struct_rows else 0
        for r in sorted(s.resources, key=lambda r: (self.groups.index((r['api_group'], r['version'])), r['plural'])):
            pkg = label(r['group'], r['version'])
            first = (len(self.subs), len(self.selectors))
            for b in s.subresources:
                if (b['group'], b['version'], b['plural']) == (r['group'], r['version'], r['plural']):
                    g, _, v = b['kind_group_version'].rpartition('/')
                    self.subs.append('{%s,%s,%s,%d,%d}' % (p.text(b['subresource']), p.text(b['kind']),
                                     p.text(b['kind_group_version']), bits(b['verbs']), find(short[g, v] + '.' + b['kind'])))
            for f in s.field_selectors:
                if (f['group'], f['version'], f['kind']) == (r['group'], r['version'], r['kind']):
                    self.selectors.append("{%s,%s,'%s'}" % (p.text(f['selector']), p.text(f['compares']), f['error_style']))
            n_subs, n_selectors = [len(x) - n for x, n in zip((self.subs, self.selectors), first)]
            at_column, n_columns = column_range.get(pkg + '.' + r['kind'], (0, 0))
            typ = find(pkg + '.' + r['kind'])
            if not typ:
                sys.exit('resource %s: no type %s.%s' % (r['plural'], pkg, r['kind']))
            self.resources.append('{%s,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d}' % (
                ','.join(p.text(r[c]) for c in ('api_group', 'version', 'kind', 'plural', 'singular', 'short_names',
                                                'categories', 'storage_gvk', 'storage_version_hash')),
                typ, find(pkg + '.' + r['kind'] + 'List'), first[0], at_column, first[1], n_subs, n_columns, n_selectors,
                r['namespaced'] == 'y',
                {'y': 0, 'n': 1, 'aggregated': 2}[r['served_by_default']], bits(r['verbs'])))
        rows = [(label(c['group'], c['version']), c['name'], c['value']) for c in s.constants]
        # In a pool of their own: a program that asks for none of them is linked without.
        self.constant_pool = Pool(x for r in rows for x in r)
        self.constants = ['{%s,%s,%s}' % tuple(self.constant_pool.text(x) for x in r) for r in
                          sorted(rows, key=lambda r: (r[0].encode(), r[1].encode()))]

    # -------------------------------------------------- output
    def write(self, path):
        self.done = {}
        i = 0
        while i < len(self.types):  # finishing a struct may add types
            t = self.types[i]
            if t['kind'] == 'OBJECT':
                self.finish_message(t) if t['fields'] in self.message_rows else self.finish_struct(t)
            i += 1
        types = []
        p = self.pool
        for t in self.types:
            keys = 0
            if t['keys']:
                keys = len(self.keys) * 2 + 1
                self.keys += [p.text(k) for k in t['keys']]
            is_object = t['kind'] == 'OBJECT'
            go = t['go'] if t['go'] != t['name'] else ''
            if is_object and (keys or t['elem'] is not None):
                sys.exit('%s: an object with elements' % t['name'])  # they share their places with its fields
            types.append('{API_%s,%d,%d,%d,%d,%d,%d,%d,%d,%d,{%d},{%d},%d,%d,%d,%d}' % (
                t['kind'], t['list'], t['union'], t['bits'] if is_object else 0, fit(t['n_wire'], 8) if is_object else 0,
                fit(t['flags'], 16), t['n'] if is_object else 0, len(t['keys'] or []),
                fit(t['wire_at'], 16) if is_object else 0, fit(t['seed'], 16) if is_object else 0,
                t['first'] * 2 + 1 if is_object else t['elem'] * 2 + 1 if t['elem'] is not None else 0,
                t['slots'] * 2 + 1 if is_object else keys, fit(len(t['name']), 16), p.add(t['name']) * 2 + 1,
                fit(len(go), 16), p.add(go) * 2 + 1 if go else 0))
        # A variant of a struct (atomic where it is used) has the struct's name; the name means the struct itself.
        named = {}
        for i, t in enumerate(self.types):
            if t['kind'] in ('OBJECT', 'UNION'):
                row = self.struct_rows.get(t['name'])
                want = {'': 0, 'atomic': FLAG['ATOMIC']}[row['struct_type']] if row else 0
                if t['name'] not in named or t['flags'] & 3 == want:
                    named[t['name']] = i
        for name, row in self.struct_rows.items():  # Time, Quantity and so on under their own names
            if row['json_shape'] not in ('struct',) and name not in named:
                named[name] = self.index['s', row['json_shape']]
        by_name = sorted(((n, i) for n, i in named.items() if self.types[i]['name'] == n), key=lambda e: e[0].encode())
        values, enums = [], []
        for name, (closed, vals) in self.enums:
            enums.append('{%s,%d,%d,%d}' % (p.text(name), len(values), len(vals), closed))
            values += [p.text(v) for v in vals]
        with open(path, 'w', encoding='utf-8') as f:
            f.write('/* Made by tools/gen/api_tables.py from src/api/schema/: not for editing. */\n#include "api/rows.h"\n\n')
            for name, pool in (('pool', p), ('constant_pool', self.constant_pool)):
                f.write('const char api_t_%s[] =\n' % name)
                data = bytes(pool.data)
                for at in range(0, len(data), 100):
                    f.write('"' + ''.join(c_char(b) for b in data[at:at + 100]) + '"\n')
                f.write(';\n')
            for typ, name, rows in (('struct api_type', 'types', types), ('struct api_field', 'fields', self.fields),
                                    ('struct api_cold', 'cold', self.cold), ('struct api_wire', 'wire', self.wire),
                                    ('uint8_t', 'hash', ['%d' % fit(h, 8) for h in self.hash]),
                                    ('struct api_text', 'keys', self.keys), ('struct api_enum', 'enums', enums),
                                    ('struct api_text', 'values', values),
                                    ('uint16_t', 'by_name', ['%d' % i for _, i in by_name]),
                                    ('struct api_constant_row', 'constants', self.constants),
                                    ('struct api_resource_row', 'resources', self.resources),
                                    ('struct api_sub_row', 'subs', self.subs),
                                    ('struct api_column_row', 'columns', self.columns),
                                    ('struct api_selector_row', 'selectors', self.selectors),
                                    ('struct api_group_row', 'groups', self.group_rows),
                                    ('struct api_column_kind', 'column_kinds', self.column_kinds),
                                    ('struct api_rpc_row', 'rpcs', self.rpcs)):
                f.write('\nconst %s api_t_%s[] = {\n' % (typ, name))
                per = 20 if typ in ('uint8_t', 'uint16_t') else 1
                for at in range(0, len(rows), per):
                    f.write(','.join(rows[at:at + per]) + ',\n')
                f.write('};\n')
            f.write('\nconst uint32_t api_t_n_types = %d, api_t_n_named = %d, api_t_n_enums = %d, api_t_n_constants = %d,\n'
                    '\tapi_t_n_resources = %d, api_t_n_groups = %d, api_t_n_column_kinds = %d, api_t_n_rpcs = %d;\n' % (len(types), len(by_name), len(enums),
                    len(self.constants), len(self.resources), len(self.group_rows), len(self.column_kinds), len(self.rpcs)))


def c_char(b):
    c = chr(b)
    if c in '"\\':
        return '\\' + c
    return c if 32 <= b < 127 and c != '?' else '\\%03o' % b


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    schema = api_schema.read(sys.argv[1])
    first = Tables(schema)
    first.write(sys.argv[2])
    Tables(schema, first.pool.at).write(sys.argv[2])
