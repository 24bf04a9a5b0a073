#!/usr/bin/env python3
"""Makes the table of descriptions: openapi_words.py SCHEMA_DIR DESCRIBE_DIR OUT.c

A sentence for every type and field of src/api/schema. Those that people read most are written by hand in
src/openapi/describe/PACKAGE.txt (`Type: sentence`, `Type.field: sentence`); the rest follow from the rules below: by
the name of the field, by the ending of its name, by its kind. A written line that names no type or field is an error, and so is
a field that gets no sentence. A field of an inlined struct takes the sentence of that struct unless its own type has one.

    openapi_words.py --list SCHEMA_DIR DESCRIBE_DIR     prints every sentence, those by rule marked with *
"""
import os
import re
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import api_schema  # noqa: E402

# By the field's name alone. {T}: the type as words, {K}: the kind that the type is part of.
BY_NAME = {
    'apiVersion': 'Version of the schema of this object: group/version, or the version alone in the core group.',
    'kind': 'Kind of this object, such as Pod.',
    'metadata': 'Standard metadata: name, namespace, labels, annotations, versions.',
    'spec': 'What is wanted.',
    'status': 'What was last observed; written by controllers.',
    'items': 'The objects of the list.',
    'conditions': 'Latest observations of the state, one for each type.',
    'lastTransitionTime': 'When the status of the condition last changed.',
    'lastProbeTime': 'When the condition was last checked.',
    'lastUpdateTime': 'When the condition was last updated.',
    'reason': 'Why, as one word in CamelCase for programs.',
    'message': 'Why, as a text for people.',
    'observedGeneration': 'metadata.generation of the object that this status was made from; older than the object means out of date.',
    'fsType': 'File system to mount, such as ext4 or xfs; the driver picks one when empty.',
    'readOnly': 'Mounts the volume read-only.',
    'uid': 'Unique identifier of the object.',
    'namespace': 'Namespace of the object.',
    'name': 'Name of the {T}.',
    'secretRef': 'Secret that holds the credentials.',
    'selector': 'Labels of the objects that belong to this one.',
    'labelSelector': 'Only objects whose labels match.',
    'namespaceSelector': 'Only namespaces whose labels match.',
    'podSelector': 'Only pods whose labels match.',
    'objectSelector': 'Only objects whose labels match.',
    'fieldSelector': 'Only objects whose fields match.',
    'nodeSelector': 'Only nodes whose labels match.',
    'resourceVersion': 'Version of the object at the time of this entry; an opaque text.',
    'apiGroup': 'API group of the object that is named; empty for the core group.',
    'apiGroups': 'API groups; "*" is all of them, "" the core group.',
    'resources': 'Resources in the plural, such as pods or pods/log; "*" is all of them.',
    'resourceNames': 'Names of the objects; none listed means all.',
    'verbs': 'Verbs such as get, list and watch; "*" is all of them.',
    'nonResourceURLs': 'URL paths that are no resources, such as /healthz; may end in *.',
    'group': 'API group; empty for the core group.',
    'version': 'API version, such as v1.',
    'resource': 'Resource in the plural, such as pods.',
    'subresource': 'Part of the resource that is addressed, such as status.',
    'key': 'The key.', 'value': 'The value.', 'values': 'The values to compare with.',
    'operator': 'How key and values are compared.',
    'matchLabels': 'Labels that must all be there with these values.',
    'matchExpressions': 'Conditions on labels that must all hold.',
    'matchFields': 'Conditions on fields that must all hold.',
    'port': 'Port, by number or name.',
    'ports': 'The ports.',
    'protocol': 'Protocol: TCP, UDP or SCTP.',
    'appProtocol': 'What is spoken on the port, such as http or kubernetes.io/h2c.',
    'ip': 'IP address.', 'ips': 'IP addresses.', 'hostname': 'Host name.', 'host': 'Host name or IP address.',
    'addresses': 'The addresses.', 'path': 'Path of the {T}.', 'url': 'The URL.',
    'image': 'The image.', 'user': 'Name of the user.', 'username': 'Name of the user.',
    'groups': 'Groups that the user belongs to.', 'extra': 'More attributes of the user, from the authenticator.',
    'optional': 'Goes on without it when it does not exist.',
    'timeoutSeconds': 'Seconds after which a try counts as failed.',
    'template': 'Pattern from which the objects are made.',
    'replicas': 'Number of pods.',
    'minReadySeconds': 'Seconds that a new pod must be ready without a crash before it counts as available.',
    'readyReplicas': 'Number of pods that are ready.',
    'availableReplicas': 'Number of pods that have been ready for minReadySeconds.',
    'updatedReplicas': 'Number of pods made from the newest template.',
    'unavailableReplicas': 'Number of pods that are wanted but not available.',
    'terminatingReplicas': 'Number of pods that are being deleted and have not ended yet.',
    'fullyLabeledReplicas': 'Number of pods whose labels match those of the template.',
    'currentReplicas': 'Number of pods now, or of pods made from the current revision.',
    'desiredReplicas': 'Number of pods that is wanted.',
    'collisionCount': 'How often a name made from a hash was taken already; part of the next hash.',
    'revisionHistoryLimit': 'Number of old revisions that are kept for going back.',
    'maxUnavailable': 'Most pods that may be unavailable at a time: a number, or a percentage.',
    'maxSurge': 'Most pods above the wanted number during an update: a number, or a percentage.',
    'partition': 'Only pods with an ordinal from here on are updated.',
    'rollingUpdate': 'Settings of a rolling update.',
    'tolerations': 'Taints that are no obstacle.',
    'effect': 'What the taint does: NoSchedule, PreferNoSchedule or NoExecute.',
    'taints': 'The taints.', 'tolerationSeconds': 'Seconds that the pod may stay after a NoExecute taint appeared; absent means for ever.',
    'timeAdded': 'When the taint was added.',
    'nodeName': 'Name of the node.', 'driver': 'Name of the driver.',
    'capacity': 'Total amount of each resource.', 'allocatable': 'Amount of each resource that pods may have.',
    'limits': 'Most that may be used of each resource.', 'requests': 'Amount of each resource that is set aside.',
    'request': 'The request that this answers.', 'phase': 'Where in its life the object is.',
    'dryRun': 'All: check everything and store nothing.',
    'fieldManager': 'Who makes the change, as it stands in managedFields.',
    'fieldValidation': 'Unknown or repeated fields: Strict refuses them, Warn warns, Ignore drops them.',
    'caBundle': 'PEM certificates that the certificate of the server must lead to.',
    'service': 'Service that is called.', 'clientConfig': 'How the webhook is reached.',
    'webhooks': 'The webhooks and what they are asked about.',
    'failurePolicy': 'When the call fails: Fail refuses the request, Ignore goes on.',
    'sideEffects': 'Whether calling it changes anything else; None and NoneOnDryRun allow dry runs.',
    'matchPolicy': 'Exact: only the listed versions; Equivalent: other versions of the same object too.',
    'matchConditions': 'CEL conditions that must all hold for a request to get here.',
    'admissionReviewVersions': 'Versions of AdmissionReview that it understands, the preferred first.',
    'expression': 'The CEL expression.', 'messageExpression': 'CEL expression that gives the message.',
    'rules': 'The rules.', 'scope': 'Scope: Cluster, Namespaced or *.',
    'subjects': 'Who is meant: users, groups, service accounts.', 'roleRef': 'Role that is granted; cannot be changed later.',
    'ready': 'Whether it is ready.', 'active': 'What is running now.', 'succeeded': 'How many succeeded.',
    'failed': 'How many failed.', 'terminating': 'How many are ending.',
    'startTime': 'When it began.', 'completionTime': 'When it ended well.', 'startedAt': 'When it began.',
    'finishedAt': 'When it ended.', 'suspend': 'Stops making new pods while true.',
    'activeDeadlineSeconds': 'Seconds after the start when it is ended by force.',
    'target': 'The target value.', 'current': 'The current value.', 'metric': 'The metric, by name and selector.',
    'metricName': 'Name of the metric.', 'metricSelector': 'Only series of the metric whose labels match.',
    'describedObject': 'Object that the metric describes.', 'averageValue': 'Average over all pods.',
    'averageUtilization': 'Average over all pods, as a percentage of what they request.',
    'container': 'Name of the container.', 'containerName': 'Name of the container.',
    'stdin': 'Passes standard input on.', 'stdout': 'Passes standard output on.', 'stderr': 'Passes standard error on.',
    'tty': 'Gives the process a terminal.', 'command': 'Command and arguments, not run in a shell.',
    'accessModes': 'How it can be mounted: ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod.',
    'storageClassName': 'Name of the StorageClass.', 'volumeMode': 'Filesystem or Block.',
    'volumeName': 'Name of the volume.', 'volumeID': 'Identifier of the volume at its provider.',
    'secretName': 'Name of the Secret.', 'secretNamespace': 'Namespace of the Secret.', 'secretFile': 'Path of the key file on the node.',
    'defaultMode': 'Permission bits of files that have none of their own.', 'lun': 'Logical unit number.',
    'monitors': 'Addresses of the Ceph monitors.', 'keyring': 'Path of the Ceph keyring on the node.', 'pool': 'Name of the pool.',
    'mountOptions': 'Options given to mount.', 'nodeAffinity': 'Nodes that it can be used on.',
    'parameters': 'Settings that the driver understands.', 'finalizers': 'What must be done before the object goes; it stays until the list is empty.',
    'description': 'What it is for, as a text for people.', 'priority': 'The priority: higher goes first.',
    'weight': 'How much this counts, from 1 to 100.', 'topologyKey': 'Label of nodes whose value names the domain, such as topology.kubernetes.io/zone.',
    'weightedPodAffinityTerm': 'The weighted term.', 'namespaces': 'Names of the namespaces.',
    'requiredDuringSchedulingIgnoredDuringExecution': 'Must hold when the pod is placed; a later change does not move the pod.',
    'preferredDuringSchedulingIgnoredDuringExecution': 'Preferred when the pod is placed: each term adds its weight to the score of a node.',
    'seLinuxOptions': 'SELinux labels of the process.', 'windowsOptions': 'Settings for Windows only.',
    'runAsUser': 'User ID of the process.', 'runAsGroup': 'Group ID of the process.',
    'runAsNonRoot': 'Refuses to start as user 0.', 'seccompProfile': 'System calls that are allowed.',
    'appArmorProfile': 'AppArmor profile of the process.', 'localhostProfile': 'Profile on the node; for type Localhost.',
    'count': 'How many.', 'token': 'The token.', 'audiences': 'Who the token is meant for.', 'audience': 'Who the token is meant for.',
    'expirationSeconds': 'Seconds that it is wanted to be valid.', 'expirationTimestamp': 'When it stops being valid.',
    'error': 'What went wrong.', 'data': 'The data.', 'immutable': 'Once true, data cannot change any more.',
    'generation': 'Number that grows with each change of what is wanted.', 'default': 'The default value.',
    'categories': 'Groups of resources that it belongs to, such as all.', 'shortNames': 'Short names, such as po.',
    'allowed': 'Whether it is allowed.', 'denied': 'Whether it is forbidden by name.',
    'evaluationError': 'What went wrong while deciding; the decision can still stand.',
    'timestamp': 'When it was measured.', 'window': 'Time that the value covers.', 'usage': 'Amount of each resource that was used.',
    'backend': 'Where requests go.', 'parametersRef': 'Object with more settings.', 'strategy': 'How it is done.',
    'type': 'Type of the {T}.', 'options': 'Settings by name.', 'config': 'The configuration.', 'device': 'The device.',
    'devices': 'The devices.', 'serviceAccount': 'Name of the service account.', 'signerName': 'Who is to sign.',
    'selectors': 'CEL conditions that a device must meet; all of them.', 'reference': 'The reference.', 'source': 'Where it comes from.',
    'hard': 'Most that is allowed of each resource.', 'used': 'Amount in use of each resource.',
    'holderIdentity': 'Who holds the lease.', 'eventTime': 'When it was first seen.', 'paths': 'The paths.', 'tls': 'TLS settings.',
    'gateway': 'Address of the gateway.', 'system': 'Name of the storage system.', 'mode': 'Permission bits.',
}

# By the ending of the name. {w}: the words before the ending.
BY_END = [
    ('Seconds', '{W}, in seconds.'), ('Time', 'Time: {w}.'), ('Timestamp', 'Time: {w}.'),
    ('ClassName', 'Name of the {w} class.'), ('Namespace', 'Namespace of the {w}.'), ('Name', 'Name of the {w}.'),
    ('Names', 'Names: {w}.'), ('SecretRef', 'Secret that is used for this: {w}.'), ('Ref', 'Reference: {w}.'),
    ('Refs', 'References: {w}.'), ('Replicas', 'Number of pods: {w}.'), ('Count', 'Number: {w}.'),
    ('Limit', 'Upper bound: {w}.'), ('Percent', 'Percentage: {w}.'), ('Policy', 'Policy: {w}.'),
    ('Selector', 'Selector: {w}.'), ('Path', 'Path: {w}.'), ('Bytes', '{W}, in bytes.'),
    ('ID', 'Identifier: {w}.'), ('IDs', 'Identifiers: {w}.'), ('IP', 'IP address: {w}.'), ('IPs', 'IP addresses: {w}.'),
    ('Port', 'Port: {w}.'), ('URL', 'URL: {w}.'), ('URI', 'URI: {w}.'), ('Mode', 'Mode: {w}.'),
    ('Version', 'Version: {w}.'), ('Versions', 'Versions: {w}.'), ('Type', 'Type: {w}.'),
    ('Expression', 'CEL expression: {w}.'), ('Expressions', 'Expressions: {w}.'),
    ('Annotations', 'Annotations: {w}.'), ('Labels', 'Labels: {w}.'), ('Rules', 'Rules: {w}.'),
]
# Names that mean something else outside of rules about requests.
REQUEST_PACKAGES = ('admission', 'admissionregistration', 'authorization', 'flowcontrol', 'rbac', 'apidiscovery')
IN_REQUESTS = ('resources', 'resourceNames', 'apiGroups', 'verbs', 'scope', 'version', 'resource')

# Types whose fields mean what those of another type of the package mean: its sentences by hand are taken first.
LIKE = {'EphemeralContainer': 'Container', 'EphemeralContainerCommon': 'Container', 'VolumeSource': 'Volume',
        'PersistentVolumeSource': 'Volume', 'PersistentVolumeSpec': 'Volume'}

# By the ending of the type's name, {n} without it. Those with a mark hold only where {n} is a kind.
TYPES_BY_END = [
    ('PersistentVolumeSource', 'A persistent volume of type {w}.', False), ('VolumeSource', 'A volume of type {w}.', False),
    ('TemplateSpec', 'Pattern of the {w}: metadata and spec.', False), ('List', 'A list of {n} objects.', True),
    ('Spec', 'What is wanted of the {n}.', True), ('Status', 'What was last observed of the {n}.', True),
    ('Condition', 'One observation of the state of the {n}.', True),
]


def words(name):
    """lastTransitionTime -> last transition time; abbreviations keep their capitals."""
    parts = re.findall(r'[A-Z]+s?(?![a-z])|[A-Z]?[a-z0-9]+|[A-Z]', name)
    return ' '.join(p if len(p) > 1 and p.rstrip('s').isupper() else p.lower() for p in parts)


def type_sentence(name, kinds):
    for end, form, of_kind in TYPES_BY_END:
        stem = name[:-len(end)]
        if name.endswith(end) and stem and (stem in kinds or not of_kind):
            return form.format(w=words(stem), n=stem)
    w = words(name)
    return w[:1].upper() + w[1:] + '.'


def field_sentence(typ, f):
    name, kind = f['field'], f['kind']
    if name in BY_NAME and (name not in IN_REQUESTS or f['group'] in REQUEST_PACKAGES):
        return BY_NAME[name].format(T=words(typ), K=typ)
    w = words(name)
    if kind == 'bool':
        return 'Yes or no: %s.' % w
    for end, form in sorted(BY_END, key=lambda x: -len(x[0])):
        if name.endswith(end) and len(name) > len(end):
            base = words(name[:-len(end)])
            return form.format(w=base, W=base[:1].upper() + base[1:])
    cap = w[:1].upper() + w[1:]
    inner = re.match(r'(list|map)<(?:string,)?(.*)>$', kind)
    if inner and inner[1] == 'list':
        return 'The %s of the %s.' % (w, words(typ))
    if inner:
        return '%s by name.' % cap
    if kind == 'bytes':
        return '%s, base64.' % cap
    if kind == 'quantity':
        return '%s, as a quantity such as 500m or 1Gi.' % cap
    if kind in ('int32', 'int64', 'double'):
        return '%s, a number.' % cap
    if kind == 'intorstring':
        return '%s: a number or a text.' % cap
    if f['enum_type']:
        return '%s: one of the values that the API names.' % cap
    return '%s of the %s.' % (cap, words(typ))


def written(folder):
    """{(package, type, field): (sentence, place)}"""
    out = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith('.txt'):
            continue
        path = os.path.join(folder, name)
        package = name[:-4].replace('_', '/')
        for n, line in enumerate(open(path, encoding='utf-8'), 1):
            line = line.rstrip('\n')
            if not line or line.startswith('#'):
                continue
            m = re.match(r'([A-Za-z0-9]+)(?:\.([A-Za-z0-9$-]+))?: (\S.*)$', line)
            if not m:
                raise SystemExit('%s:%d: not "Type: sentence" or "Type.field: sentence"' % (path, n))
            key = (package, m[1], m[2] or '')
            if key in out:
                raise SystemExit('%s:%d: %s stands twice' % (path, n, '.'.join(k for k in key[1:] if k)))
            if m[3][-1] not in '.:)':
                raise SystemExit('%s:%d: a sentence ends with a full stop' % (path, n))
            out[key] = (m[3], '%s:%d' % (path, n))
    return out


def table(schema_dir, describe_dir):
    """[(type, sentence, by rule, [(field, sentence, by rule)])], everything in byte order."""
    s = api_schema.read(schema_dir)
    by_hand = written(describe_dir)
    used = set()
    fields_of = {}
    for f in s.types:
        fields_of.setdefault((api_schema.label(f['group'], f['version']), f['type']), []).append(f)

    def fields(package, typ):
        """{field: (sentence, by rule)} with those of inlined structs."""
        out = {}
        for f in fields_of.get((package, typ), []):
            if f['inline'] == 'y':
                p, t = re.match(r'object:(.*)\.([^.]+)$', f['kind']).groups()
                for name, value in fields(p, t).items():
                    out.setdefault(name, value)
        for f in fields_of.get((package, typ), []):
            if f['inline'] != 'y' and f['field'] and not f['field'].startswith('~'):
                out[f['field']] = (field_sentence(typ, f), True)
        for name in list(out):
            for key in ((package, LIKE.get(typ, typ), name), (package, typ, name)):
                if key in by_hand:
                    out[name] = (by_hand[key][0], False)
                    used.add(key)
        return out

    kinds = {r['type'] for r in s.structs if r['is_object'] == 'y'}
    rows = []
    for r in s.structs:
        package, typ = api_schema.label(r['group'], r['version']), r['type']
        key = (package, typ, '')
        rule = key not in by_hand
        used.add(key)
        sentence = type_sentence(typ, kinds) if rule else by_hand[key][0]
        rows.append((package + '.' + typ, sentence, rule, [(n,) + v for n, v in sorted(fields(package, typ).items())]))
    for key, (_, place) in by_hand.items():
        if key not in used:
            raise SystemExit('%s: no such type or field: %s' % (place, '.'.join(k for k in key[1:] if k)))
    for name, sentence, _, members in rows:
        for field, text in [('', sentence)] + [m[:2] for m in members]:
            if not text.strip() or '\n' in text or '\t' in text or '\1' in text:
                raise SystemExit('no sentence for %s %s' % (name, field))
    return sorted(rows)


def main():
    if sys.argv[1] == '--list':
        for name, sentence, rule, members in table(*sys.argv[2:4]):
            print('%s%s: %s' % ('* ' if rule else '  ', name, sentence))
            for field, text, by_rule in members:
                print('%s%s.%s: %s' % ('* ' if by_rule else '  ', name, field, text))
        return
    rows = table(*sys.argv[1:3])
    text = ''.join('%s\1%s\n' % (name, sentence) + ''.join('\t%s\1%s\n' % m[:2] for m in members)
                   for name, sentence, _, members in rows).encode()
    packed = zlib.compress(text, 9)
    with open(sys.argv[3], 'w') as out:
        out.write('/* Made by tools/gen/openapi_words.py. */\n#include "openapi/private.h"\n')
        out.write('const unsigned openapi_words_packed_len = %d, openapi_words_len = %d, openapi_words_types = %d;\n'
                  % (len(packed), len(text), len(rows)))
        out.write('const unsigned char openapi_words_packed[] = {\n')
        for i in range(0, len(packed), 20):
            out.write('\t' + ','.join(str(b) for b in packed[i:i + 20]) + ',\n')
        out.write('};\n')


if __name__ == '__main__':
    main()
