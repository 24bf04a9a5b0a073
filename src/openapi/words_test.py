#!/usr/bin/env python3
"""The descriptions' generator refuses what is wrong: words_test.py GENERATOR SCHEMA_DIR DESCRIBE_DIR"""
import os
import subprocess
import sys
import tempfile


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    generator, schema, describe = sys.argv[1:]

    def run(name, text):
        with tempfile.TemporaryDirectory() as tmp:
            with open(os.path.join(tmp, name), 'w') as f:
                f.write(text)
            r = subprocess.run([sys.executable, generator, '--list', schema, tmp], capture_output=True, text=True)
            return r.returncode, r.stdout + r.stderr

    bad = [
        ('core_v1.txt', 'Nonsense: A type that is not there.\n', 'no such type or field: Nonsense'),
        ('core_v1.txt', 'Pod.nonsense: A field that is not there.\n', 'no such type or field: Pod.nonsense'),
        ('core_v9.txt', 'Pod: A package that is not there.\n', 'no such type or field'),
        ('core_v1.txt', 'Pod: One.\nPod: Two.\n', 'stands twice'),
        ('core_v1.txt', 'Pod without a colon\n', 'core_v1.txt:1'),
        ('core_v1.txt', 'Pod: No end\n', 'full stop'),
    ]
    for name, text, want in bad:
        code, out = run(name, text)
        if code == 0 or want not in out:
            sys.exit('%r was not refused with %r but gave %d: %.300s' % (text, want, code, out))
    code, out = run('core_v1.txt', 'Pod: Hand-made.\nPodSpec.containers: Also.\n')
    if code or '  core/v1.Pod: Hand-made.' not in out or '  core/v1.PodSpec.containers: Also.' not in out or \
            '* core/v1.PodSpec.volumes: ' not in out:
        sys.exit('good lines: %d %.300s' % (code, out))
    r = subprocess.run([sys.executable, generator, '--list', schema, describe], capture_output=True, text=True)
    lines = r.stdout.splitlines()
    hand = sum(not line.startswith('*') for line in lines)
    print('%d sentences, %d of them by hand' % (len(lines), hand))
    if r.returncode or len(lines) < 3000:
        sys.exit(r.stderr)


if __name__ == '__main__':
    main()
