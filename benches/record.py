"""Writes down what a bench printed, with the machine, the command and the commit."""
import datetime, os, pathlib, platform, re, subprocess, sys, tomllib

BENCHES = pathlib.Path(__file__).resolve().parent
ROOT = BENCHES.parent
RESULTS = BENCHES / 'RESULTS.md'


def budgets():
    return tomllib.loads((BENCHES / 'budgets.toml').read_text())


def holds(budget, value):
    return value is not None and value <= budget.get('most', value) and value >= budget.get('least', value)


def bound(budget):
    if 'most' in budget:
        return f"<= {budget['most']:,g}"
    return f">= {budget['least']:,g}" if 'least' in budget else ''


def commit():
    """The commit, with `+` when the sources differ from it."""
    git = lambda *args: subprocess.run(['git', '-C', str(ROOT), *args], capture_output=True, text=True).stdout.strip()
    head = git('rev-parse', '--short=12', 'HEAD') or 'unknown'
    return head + ('+' if git('status', '--porcelain', '--untracked-files=no', '--', 'crates', 'Cargo.lock') else '')


def machine():
    model = next((line.split(':', 1)[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
    return f'{os.cpu_count()} x {model}, Linux {platform.release()}'


def append(title, command, lines):
    """Adds a dated section at the end of the results."""
    now = datetime.datetime.now(datetime.timezone.utc)
    head = '' if RESULTS.exists() else '# What the benches printed\n\nNewest last.\n'
    with RESULTS.open('a') as out:
        out.write(f'{head}\n## {now:%Y-%m-%d %H:%M} UTC, {title}\n\n- machine: {machine()}\n- command: `{command}`\n- commit: {commit()}\n\n')
        out.write('\n'.join(lines).rstrip() + '\n')


def micro(text):
    """The figures of criterion's plain output against the budgets that name one of them."""
    found = {name.strip(): int(ns.replace(',', '')) / 1000 for name, ns in re.findall(r'^test (.+?) \.\.\. bench: +([\d,]+) ns/iter', text, re.M)}
    lines, held = [], True
    for name, budget in budgets().items():
        value = found.get(budget.get('micro'))
        if 'micro' not in budget:
            continue
        ok = value is not None and holds(budget, value)
        held &= ok
        lines.append(f"{'ok  ' if ok else 'MISS'} {name}: {'not measured' if value is None else format(value, '.3g')} {budget['unit']} ({bound(budget)})")
    return lines, held


def main():
    title, command, file, *failed = sys.argv[1:]
    text = pathlib.Path(file).read_text()
    lines, held = micro(text)
    lines += [f'FAIL {name}' for name in failed]
    print('\n'.join(lines))
    append(title, command, ['```', *(line for line in text.splitlines() if line.strip()), '```', '', *(f'- {line}' for line in lines)])
    return 0 if held and not failed else 1


if __name__ == '__main__':
    sys.exit(main())
