"""Reads the schema files of src/api/schema/ into rows, and writes rows as schema files.

One file per API package (group version), one for each set of protobuf messages (cri, etcd). The layout is described
in src/api/schema/README.md. Rows are dicts with the column names of the fact tables that the files were made from,
so that a reader of the files and a reader of the tables see the same thing; read() and write() are inverse.
"""
import json
import os
import re

TYPES = ['group', 'version', 'type', 'field', 'kind', 'inline', 'omitempty', 'optional_marker', 'pointer', 'proto_num',
         'proto_wire', 'patch_strategy', 'patch_merge_key', 'list_type', 'list_map_keys', 'map_type', 'default',
         'enum_type', 'proto_label', 'proto_type', 'go_field', 'named_type', 'elem_pointer', 'required_marker',
         'feature_gate', 'other_markers']
STRUCTS = ['group', 'version', 'type', 'json_shape', 'is_object', 'is_list', 'cluster_scoped', 'struct_type', 'map_type',
           'union', 'has_proto', 'n_fields', 'introduced', 'deprecated', 'removed']
ALL_VERBS = 'create,delete,deletecollection,get,list,patch,update,watch'


def label(group, version):
    """core/v1; packages without a version have the version '-'."""
    return group if version == '-' else group + '/' + version


def unlabel(text):
    group, _, version = text.partition('/')
    return group, version or '-'


def derive_proto(kind):
    """(label, type, wire) that a kind usually has."""
    m = re.match(r'list<(.*)>$', kind)
    if m:
        _, typ, wire = derive_proto(m[1])
        return 'rep', typ, wire
    m = re.match(r'map<string,(.*)>$', kind)
    if m:
        return 'map', 'map<string,%s>' % derive_proto(m[1])[1], 'bytes'
    if kind in ('string', 'bytes'):
        return 'opt', kind, 'bytes'
    if kind in ('int32', 'int64', 'bool'):
        return 'opt', kind, 'varint'
    if kind == 'double':
        return 'opt', kind, 'fixed64'
    if ':' in kind:
        return 'opt', kind.split(':')[1], 'bytes'
    return 'opt', {'time': 'meta/v1.Time', 'microtime': 'meta/v1.MicroTime', 'duration': 'meta/v1.Duration',
                   'quantity': 'quantity.Quantity', 'intorstring': 'intstr.IntOrString',
                   'raw': 'runtime.RawExtension', 'any': 'any'}[kind], 'bytes'


def kind_text(kind, pkg):
    """The kind as a schema file writes it: Go's notation."""
    m = re.match(r'list<(.*)>$', kind)
    if m:
        return '[]' + kind_text(m[1], pkg)
    m = re.match(r'map<string,(.*)>$', kind)
    if m:
        return 'map[string]' + kind_text(m[1], pkg)
    if kind.startswith('object:'):
        return kind[7 + len(pkg) + 1:] if kind[7:].startswith(pkg + '.') else kind[7:]
    if kind.startswith('union:'):
        return '|' + kind_text('object:' + kind[6:], pkg)
    return kind


def text_kind(text, pkg):
    if text.startswith('[]'):
        return 'list<%s>' % text_kind(text[2:], pkg)
    if text.startswith('map[string]'):
        return 'map<string,%s>' % text_kind(text[11:], pkg)
    if text.startswith('|'):
        return 'union:' + text_kind(text[1:], pkg)[7:]
    if '.' in text:
        return 'object:' + text
    if text[0].isupper():
        return 'object:%s.%s' % (pkg, text)
    return text


def ref_text(name, pkg):
    return name[len(pkg) + 1:] if name.startswith(pkg + '.') else name


def text_ref(text, pkg):
    return text if '.' in text else pkg + '.' + text


def quote(text):
    return text if re.fullmatch(r'[^\s"]+', text) else json.dumps(text, ensure_ascii=False)


def split(line):
    """Words of a line; a word may hold one JSON string at its end: name="a b"."""
    words, i, n = [], 0, len(line)
    decoder = json.JSONDecoder()
    while i < n:
        if line[i].isspace():
            i += 1
            continue
        j = i
        while j < n and not line[j].isspace() and line[j] != '"':
            j += 1
        word = line[i:j]
        if j < n and line[j] == '"':
            text, end = decoder.raw_decode(line, j)
            words.append((word, text))
            j = end
        else:
            words.append((word, None))
        i = j
    return words


def plain(words):
    return [w if q is None else w + q for w, q in words]


def options(words):
    """name=value words as a dict, bare ones as name: True."""
    out = {}
    for w, q in words:
        if q is not None:
            out[w.rstrip('=')] = q
        elif '=' in w:
            k, v = w.split('=', 1)
            out[k] = v
        else:
            out[w] = True
    return out


def cells(line, n):
    out = [c.strip() for c in line.split(' | ')] if n > 1 else [line.strip()]
    if len(out) != n:
        raise ValueError('expected %d cells: %s' % (n, line))
    return out


def join_cells(values):
    return ' | '.join(values).rstrip() if values[-1] else ' | '.join(values[:-1]) + ' | '


class Schema:
    """Everything of all files, as lists of rows."""

    TABLES = ('groups', 'group_priorities', 'types', 'structs', 'named_types', 'enums', 'constants', 'resources',
              'subresources', 'defaults', 'table_columns', 'field_selectors')
    PROTO = ('cri_messages', 'cri_rpcs', 'etcd_messages', 'etcd_rpcs')

    def __init__(self):
        for t in self.TABLES + self.PROTO:
            setattr(self, t, [])
        self.messages = []  # (package, message) in order, the empty ones too


# ---------------------------------------------------------------- reading


def read(folder):
    s = Schema()
    for name in sorted(os.listdir(folder)):
        if name.endswith('.api'):
            read_file(s, os.path.join(folder, name), name[:-4])
    struct_type = {(r['group'], r['version'], r['type']): r['struct_type'] for r in s.structs}
    for r in s.types:  # a field of an atomic struct type is atomic unless it says otherwise
        if r['map_type'] is None:
            m = re.match(r'object:(.*)\.([^.]+)$', r['kind'])
            key = unlabel(m[1]) + (m[2],) if m else None
            r['map_type'] = struct_type.get(key, '') if key else ''
    return s


def read_file(s, path, stem):
    block = None
    pkg = group = version = api_group = None
    is_proto = False
    for n, line in enumerate(open(path, encoding='utf-8'), 1):
        line = line.rstrip('\n')
        if not line.strip() or line.startswith('#'):
            continue
        try:
            if not line.startswith('\t'):
                words = split(line)
                head = words[0][0]
                if head == 'package':
                    pkg = words[1][0]
                    group, version = unlabel(pkg)
                    o = options(words[2:])
                    is_proto = bool(o.get('messages'))
                    if not is_proto and 'go' in o:
                        api_group = o.get('api', '')
                        s.groups.append({'group': group, 'version': version, 'api_group': api_group,
                                         'go_import': o['go'], 'proto_package': o['proto']})
                        if 'priority' in o:
                            a, b, c = o['priority'].split(',')
                            s.group_priorities.append({'api_group': api_group, 'version': version,
                                                       'group_priority_minimum': a, 'version_priority': b, 'source': c})
                elif is_proto:
                    block = read_message_head(s, stem, pkg, words)
                else:
                    block = read_head(s, pkg, group, version, api_group, words)
            elif is_proto:
                block(line.strip())
            else:
                block(line[1:])
        except Exception as e:
            raise SystemExit('%s:%d: %s: %s' % (path, n, type(e).__name__, e))


def read_head(s, pkg, group, version, api_group, words):
    head, name, o = words[0][0], words[1][0] if len(words) > 1 else '', options(words[2:])
    gv = {'group': group, 'version': version}
    if head == 'struct':
        row = dict(gv, type=name, json_shape=o.get('shape', 'struct'), is_object='y' if 'object' in o else 'n',
                   is_list='y' if 'list' in o else 'n', cluster_scoped=o.get('cluster', ''),
                   struct_type='atomic' if 'atomic' in o else '', map_type='', union='y' if 'union' in o else 'n',
                   has_proto='n' if 'noproto' in o else 'y', n_fields=o.get('fields', '0'),
                   introduced=o.get('since', ''), deprecated=o.get('deprecated', ''), removed=o.get('removed', ''))
        if 'wrapper' not in o:
            s.structs.append(row)
        fixed = 'fields' in o

        def field(line):
            if not fixed:
                row['n_fields'] = str(int(row['n_fields']) + 1)
            s.types.append(read_field(pkg, group, version, name, line))
        return field
    if head == 'named':
        closed = 'y' if 'closed' in o else 'n'
        if 'foreign' not in o:
            kind = text_kind(o.get('kind', 'string'), pkg)
            s.named_types.append(dict(gv, name=name, alias_or_named='alias' if 'alias' in o else 'named', kind=kind,
                                      enum_marker=closed, proto_wrapper='y' if 'wrapper' in o else 'n',
                                      underlying=o.get('of', 'string')))

        def value(line):
            w = plain(split(line))
            s.enums.append(dict(gv, enum_type=name, value=w[0], enum_marker=closed, go_const=w[1]))
        return value
    if head == 'constants':
        def constant(line):
            w = split(line)
            typ = '' if w[1][0] == '=' else w[1][0]
            s.constants.append(dict(gv, name=w[0][0], go_type=typ, value=w[-1][1]))
        return constant
    if head == 'resource':
        o = options(words[3:])
        gva = dict(gv, api_group=api_group)
        verbs = o.get('verbs', '*')
        s.resources.append(dict(gva, kind=words[2][0], plural=name, singular=o.get('singular', ''),
                                short_names=o.get('short', ''), namespaced='y' if 'namespaced' in o else 'n',
                                subresources=None, categories=o.get('categories', ''),
                                verbs=ALL_VERBS if verbs == '*' else verbs, storage_gvk=o.get('storage', ''),
                                storage_version_hash=o.get('hash', ''), served_by_default=o.get('served', 'y')))
        row = s.resources[-1]
        row['subresources'] = ''

        def sub(line):
            w = split(line)
            so = options(w[3:])
            if w[0][0] != 'sub':
                raise ValueError('only sub lines belong to a resource')
            s.subresources.append(dict(gva, plural=name, subresource=w[1][0], kind=w[2][0], kind_group_version=so['in'],
                                       namespaced='y' if 'namespaced' in so else 'n', verbs=so['verbs']))
            row['subresources'] = ','.join(sorted(filter(None, row['subresources'].split(',') + [w[1][0]])))
        return sub
    if head == 'columns':
        kind = ' '.join(plain(words[1:]))
        index = [0]

        def column(line):
            c = cells(line, 6)
            s.table_columns.append(dict(gv, kind=kind, index=str(index[0]), name=c[0], type=c[1], format=c[2],
                                        priority=c[3], cell_json=c[4], shows=c[5]))
            index[0] += 1
        return column
    if head == 'selectors':
        def selector(line):
            c = cells(line, 3)
            s.field_selectors.append(dict(gv, kind=name, selector=c[0], compares=c[1], error_style=c[2]))
        return selector
    if head == 'defaults':
        def default(line):
            c = cells(line, 6)
            s.defaults.append(dict(type=text_ref(name, pkg), field=c[0], condition=c[1], value=c[2], stage=c[3],
                                   source=c[4], note=c[5]))
        return default
    raise ValueError('unknown block ' + head)


def read_field(pkg, group, version, typ, line):
    words = split(line)
    num, name, kind = words[0][0], words[1][0], words[2][0]
    o = options(words[3:])
    pointer = kind.startswith('*')
    kind = text_kind(kind[1:] if pointer else kind, pkg)
    inline = name == '+'
    name = '' if inline else name
    last = kind.split('.')[-1]
    go = last if inline else '' if name.startswith('~') else name[:1].upper() + name[1:]
    row = dict.fromkeys(TYPES, '')
    row.update(group=group, version=version, type=typ, field=name, kind=kind, inline='y' if inline else 'n',
               omitempty='y' if '?' in o or 'omitempty' in o else 'n',
               optional_marker='y' if '?' in o or 'optional' in o else 'n', pointer='y' if pointer else 'n',
               elem_pointer='n', required_marker='y' if 'required' in o else 'n', go_field=o.get('go', go),
               list_type=o.get('list', '').partition('(')[0],
               list_map_keys=o.get('list', '').partition('(')[2].rstrip(')'), map_type=o.get('map'),
               default=json.dumps(o['default']) if '"' in line and 'default="' in line else o.get('default', ''),
               feature_gate=o.get('gate', ''), other_markers=o.get('markers', ''))
    if row['map_type'] == 'none':
        row['map_type'] = ''
    if row['go_field'] == '-':
        row['go_field'] = ''
    if num != '-':
        row['proto_num'] = num
        row['proto_label'], row['proto_type'], row['proto_wire'] = derive_proto(kind)
        if 'proto' in o:
            row['proto_label'], row['proto_type'] = o['proto'].split(':')
    if 'patch' in o:
        row['patch_strategy'], _, row['patch_merge_key'] = o['patch'].partition(':')
    if 'enum' in o:
        row['enum_type'] = text_ref(o['enum'], pkg)
    if 'named' in o:
        row['named_type'] = text_ref(o['named'], pkg)
    return row


def read_message_head(s, stem, pkg, words):
    head, name = words[0][0], words[1][0]
    if head == 'service':
        def method(line):
            w = plain(split(line))
            s.__dict__[stem + '_rpcs'].append({
                'package': pkg, 'service': name, 'method': w[0], 'request': w[1].replace('stream:', ''),
                'request_stream': 'y' if w[1].startswith('stream:') else 'n', 'response': w[2].replace('stream:', ''),
                'response_stream': 'y' if w[2].startswith('stream:') else 'n'})
        return method
    rows = s.__dict__[stem + '_messages']
    if head == 'enum':
        def value(line):
            w = plain(split(line))
            rows.append({'package': pkg, 'message': name, 'label': 'enum', 'field': w[1], 'type': '', 'number': w[0],
                         'oneof': ''})
        return value
    if head != 'message':
        raise ValueError('unknown block ' + head)
    s.messages.append((stem, pkg, name))

    def field(line):
        w = split(line)
        typ, o = w[2][0], options(w[3:])
        lab = 'opt'
        if typ.startswith('[]'):
            lab, typ = 'rep', typ[2:]
        elif typ.startswith('map['):
            lab, typ = 'map', 'map<%s>' % typ[4:].replace(']', ',')
        rows.append({'package': pkg, 'message': name, 'label': lab, 'field': w[1][0], 'type': typ, 'number': w[0][0],
                     'oneof': o.get('oneof', '')})
    return field


# ---------------------------------------------------------------- writing


def write(s, folder):
    """Writes rows as schema files; what a file cannot express is an error of this script, found by check_schema.py."""
    packages = [(r['group'], r['version']) for r in s.groups] + [('types', '-'), ('*', '*')]
    for gv in packages:
        text = write_package(s, gv)
        stem = 'any' if gv == ('*', '*') else gv[0] if gv[1] == '-' else gv[0] + '_' + gv[1]
        with open(os.path.join(folder, stem + '.api'), 'w', encoding='utf-8') as f:
            f.write(text)
    for stem in ('cri', 'etcd'):
        with open(os.path.join(folder, stem + '.api'), 'w', encoding='utf-8') as f:
            f.write(write_messages(s, stem))


def write_package(s, gv):
    pkg = label(*gv) if gv != ('*', '*') else '*/*'
    mine = lambda rows: [r for r in rows if (r['group'], r['version']) == gv]
    out = []
    for g in mine(s.groups):
        line = 'package %s' % pkg + (' api=' + g['api_group'] if g['api_group'] else '')
        line += ' go=%s proto=%s' % (g['go_import'], g['proto_package'])
        for p in s.group_priorities:
            if (p['api_group'], p['version']) == (g['api_group'], g['version']) and gv[0] not in ('runtime', 'quantity', 'intstr', 'types'):
                line += ' priority=%s,%s,%s' % (p['group_priority_minimum'], p['version_priority'], p['source'])
        out.append(line)
    if not out:
        out.append('package %s' % pkg)
    for r in mine(s.resources):
        line = '\nresource %s %s' % (r['plural'], r['kind'])
        line += ' singular=' + r['singular'] if r['singular'] else ''
        line += ' short=' + r['short_names'] if r['short_names'] else ''
        line += ' namespaced' if r['namespaced'] == 'y' else ''
        line += ' categories=' + r['categories'] if r['categories'] else ''
        line += ' verbs=' + r['verbs'] if r['verbs'] != ALL_VERBS else ''
        line += ' storage=%s' % r['storage_gvk'] if r['storage_gvk'] else ''
        line += ' hash=%s' % r['storage_version_hash'] if r['storage_version_hash'] else ''
        line += ' served=' + r['served_by_default'] if r['served_by_default'] != 'y' else ''
        out.append(line)
        for b in mine(s.subresources):
            if b['plural'] == r['plural']:
                out.append('\tsub %s %s in=%s%s verbs=%s' % (b['subresource'], b['kind'], b['kind_group_version'],
                           ' namespaced' if b['namespaced'] == 'y' else '', b['verbs']))
    for table, head, cols in ((s.table_columns, 'columns', ['name', 'type', 'format', 'priority', 'cell_json', 'shows']),
                              (s.field_selectors, 'selectors', ['selector', 'compares', 'error_style'])):
        last = None
        for r in mine(table):
            if r['kind'] != last:
                out.append('\n%s %s' % (head, r['kind']))
                last = r['kind']
            out.append('\t' + join_cells([r[c] for c in cols]))
    last = None
    for r in s.defaults:
        if unlabel(r['type'].rsplit('.', 1)[0]) == gv:
            if r['type'] != last:
                out.append('\ndefaults %s' % ref_text(r['type'], pkg))
                last = r['type']
            out.append('\t' + join_cells([r[c] for c in ('field', 'condition', 'value', 'stage', 'source', 'note')]))
    structs = mine(s.structs)
    known = {r['type'] for r in structs}
    extra = [t for t in dict.fromkeys(r['type'] for r in mine(s.types)) if t not in known]
    struct_type = {(r['group'], r['version'], r['type']): r['struct_type'] for r in s.structs}
    for r in structs + [{'type': t, 'wrapper': True} for t in extra]:
        fields = [f for f in mine(s.types) if f['type'] == r['type']]
        line = '\nstruct ' + r['type']
        if r.get('wrapper'):
            line += ' wrapper'
        else:
            line += ' shape=' + r['json_shape'] if r['json_shape'] != 'struct' else ''
            line += ' object' if r['is_object'] == 'y' else ''
            line += ' list' if r['is_list'] == 'y' else ''
            line += ' cluster=' + r['cluster_scoped'] if r['cluster_scoped'] else ''
            line += ' atomic' if r['struct_type'] == 'atomic' else ''
            line += ' union' if r['union'] == 'y' else ''
            line += ' noproto' if r['has_proto'] == 'n' else ''
            line += ' fields=' + r['n_fields'] if r['n_fields'] != str(len(fields)) else ''
            for col, word in (('introduced', 'since'), ('deprecated', 'deprecated'), ('removed', 'removed')):
                line += ' %s=%s' % (word, r[col]) if r[col] else ''
        out.append(line)
        rows = [field_words(f, pkg, struct_type) for f in fields]
        wide = [max([len(x[i]) for x in rows] or [0]) for i in range(3)]
        for x in rows:
            out.append(('\t' + x[0].rjust(wide[0]) + ' ' + x[1].ljust(wide[1]) + ' ' + x[2].ljust(wide[2]) + ' ' + x[3]).rstrip())
    named = mine(s.named_types)
    known = {r['name'] for r in named}
    values = mine(s.enums)
    foreign = [{'name': n, 'foreign': True, 'enum_marker': 'n'} for n in
               dict.fromkeys(v['enum_type'] for v in values) if n not in known]
    for r in named + foreign:
        line = '\nnamed ' + r['name']
        if r.get('foreign'):
            line += ' foreign'
        else:
            line += ' alias' if r['alias_or_named'] == 'alias' else ''
            line += ' kind=' + kind_text(r['kind'], pkg) if r['kind'] != 'string' else ''
            line += ' closed' if r['enum_marker'] == 'y' else ''
            line += ' wrapper' if r['proto_wrapper'] == 'y' else ''
            line += ' of=' + r['underlying'] if r['underlying'] != 'string' else ''
        out.append(line)
        for v in values:
            if v['enum_type'] == r['name']:
                out.append('\t%s %s' % (json.dumps(v['value']), v['go_const']))
    constants = mine(s.constants)
    if constants:
        out.append('\nconstants')
        for c in constants:
            out.append('\t%s %s= %s' % (c['name'], c['go_type'] + ' ' if c['go_type'] else '',
                       json.dumps(c['value'], ensure_ascii=False)))
    return '\n'.join(out) + '\n'


def field_words(f, pkg, struct_type):
    w = []
    if f['omitempty'] == 'y' and f['optional_marker'] == 'y':
        w.append('?')
    elif f['omitempty'] == 'y':
        w.append('omitempty')
    elif f['optional_marker'] == 'y':
        w.append('optional')
    if f['required_marker'] == 'y':
        w.append('required')
    if f['patch_strategy'] or f['patch_merge_key']:
        w.append('patch=' + f['patch_strategy'] + (':' + f['patch_merge_key'] if f['patch_merge_key'] else ''))
    if f['list_type']:
        w.append('list=' + f['list_type'] + ('(%s)' % f['list_map_keys'] if f['list_map_keys'] else ''))
    m = re.match(r'object:(.*)\.([^.]+)$', f['kind'])
    if f['map_type'] != (struct_type.get(unlabel(m[1]) + (m[2],), '') if m else ''):
        w.append('map=' + (f['map_type'] or 'none'))
    if f['default']:
        w.append('default=' + f['default'])
    if f['enum_type']:
        w.append('enum=' + ref_text(f['enum_type'], pkg))
    if f['named_type']:
        w.append('named=' + ref_text(f['named_type'], pkg))
    if f['proto_num'] and (f['proto_label'], f['proto_type'], f['proto_wire']) != derive_proto(f['kind']):
        w.append('proto=%s:%s' % (f['proto_label'], f['proto_type']))
    go = f['kind'].split('.')[-1] if f['inline'] == 'y' else '' if f['field'].startswith('~') else f['field'][:1].upper() + f['field'][1:]
    if f['go_field'] != go:
        w.append('go=' + (f['go_field'] or '-'))
    if f['feature_gate']:
        w.append('gate=' + f['feature_gate'])
    if f['other_markers']:
        w.append('markers=' + quote(f['other_markers']))
    return [f['proto_num'] or '-', f['field'] if f['inline'] == 'n' else '+',
            ('*' if f['pointer'] == 'y' else '') + kind_text(f['kind'], pkg), ' '.join(w)]


def write_messages(s, stem):
    rows, rpcs = getattr(s, stem + '_messages'), getattr(s, stem + '_rpcs')
    out = []
    for pkg in dict.fromkeys(r['package'] for r in rows + rpcs):
        out.append('%spackage %s messages' % ('\n' if out else '', pkg))
        blocks = {}
        for r in rows:
            if r['package'] == pkg:
                blocks.setdefault(r['message'], []).append(r)
        enums = {n.split('.')[-1] for n, b in blocks.items() if b[0]['label'] == 'enum'}
        used = [r['type'] for r in rows if r['package'] == pkg and r['type'][:1].isupper()]
        used += [r[c] for r in rpcs if r['package'] == pkg for c in ('request', 'response')]
        for name in used:  # messages without fields
            if name not in blocks and name not in enums and '.' not in name:
                blocks[name] = []
        for name, b in blocks.items():
            if b and b[0]['label'] == 'enum':
                out.append('\nenum ' + name)
                out += ['\t%s %s' % (r['number'], r['field']) for r in b]
                continue
            out.append('\nmessage ' + name)
            lines = []
            for r in b:
                typ = r['type']
                if r['label'] == 'rep':
                    typ = '[]' + typ
                elif r['label'] == 'map':
                    typ = 'map[%s' % typ[4:-1].replace(',', ']')
                lines.append((r['number'], r['field'], typ, 'oneof=' + r['oneof'] if r['oneof'] else ''))
            wide = [max([len(x[i]) for x in lines] or [0]) for i in range(3)]
            for x in lines:
                out.append(('\t' + x[0].rjust(wide[0]) + ' ' + x[1].ljust(wide[1]) + ' ' + x[2].ljust(wide[2]) + ' ' + x[3]).rstrip())
        last = None
        for r in rpcs:
            if r['package'] == pkg:
                if r['service'] != last:
                    out.append('\nservice ' + r['service'])
                    last = r['service']
                out.append('\t%s %s%s %s%s' % (r['method'], 'stream:' if r['request_stream'] == 'y' else '', r['request'],
                           'stream:' if r['response_stream'] == 'y' else '', r['response']))
    return '\n'.join(out) + '\n'


# ---------------------------------------------------------------- fact tables


def read_table(path):
    with open(path, encoding='utf-8') as f:
        rows = [l.rstrip('\n').split('\t') for l in f]
    return rows[0], [dict(zip(rows[0], r)) for r in rows[1:]]


def read_facts(folder):
    s = Schema()
    for t in Schema.TABLES + Schema.PROTO:
        setattr(s, t, read_table(os.path.join(folder, t + '.tsv'))[1])
    return s
