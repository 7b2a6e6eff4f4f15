"""What is printed while it runs, the table at the end, and the section in RESULTS.md."""
import json, re, sys, time
import record

PEER = 'Kamailio + rtpengine'


class Report:
    def __init__(self, command):
        self.budgets, self.command = record.budgets(), command
        self.rows, self.notes, self.missed, self.fallen = [], [], [], {}
        self.began = time.monotonic()

    def say(self, text):
        print(f'[{time.monotonic() - self.began:5.0f} s] {text}', flush=True)
        self.notes.append(text)

    def fail(self, text):
        self.missed.append(text)
        self.say(f'FAIL {text}')

    def skip(self, what, why):
        self.say(f'skipped {what}: {why}')

    def short(self, server, text, row):
        """Some of the work was not done: of ours a failure, of the peer a note in its cell."""
        if server == 'crosspoint':
            self.fail(f'{server}: {text}')
        else:
            self.fallen[row] = text
            self.say(f'{server}: {text}')

    def budget(self, name):
        return self.budgets.get(name) or self.budgets.get(re.sub(r'-\d+$', '', name)) or {}

    def row(self, name, ours, theirs=None):
        budget = self.budget(name)
        held = ours is None or record.holds(budget, ours)
        if not held:
            self.missed.append(f'{name}: {ours:.4g} {budget["unit"]} ({record.bound(budget)})')
        self.rows.append((name, ours, theirs, budget, held))

    def cell(self, name, value, ours):
        if value is None:
            return '–' if ours or name not in self.fallen else 'fails'
        text = f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'
        return text + (' *' if not ours and name in self.fallen else '')

    def table(self):
        lines = [f'| measure | unit | ours | {PEER} | target | |', '|---|---|---|---|---|---|']
        for name, ours, theirs, budget, held in self.rows:
            verdict = '' if ours is None or not record.bound(budget) else 'ok' if held else '**MISSED**'
            lines.append(f"| {name} | {budget.get('unit', UNITS.get(name.split('-')[0], ''))} | {self.cell(name, ours, True)} | {self.cell(name, theirs, False)} | {record.bound(budget)} | {verdict} |")
        lines += [f'\n\\* of {PEER}, {name}: {text}' for name, text in self.fallen.items()]
        return lines

    def close(self, title, results, json_file):
        """Prints the table and writes it down. Gives back the exit code."""
        table = self.table() if self.rows else []
        verdict = 'missed: ' + '; '.join(self.missed) if self.missed else 'all held'
        print('\n' + '\n'.join(table) + f'\n\n{verdict}', flush=True)
        if results and self.rows:
            record.append(title, self.command, [*table, '', *(f'- {note}' for note in self.notes), '', verdict])
        if json_file:
            figures = {name: {'ours': ours, 'kamailio': theirs, 'held': held} for name, ours, theirs, _, held in self.rows}
            with open(json_file, 'w') as out:
                json.dump({'schema': 'bench.v1', 'machine': record.machine(), 'commit': record.commit(), 'figures': figures, 'missed': self.missed}, out, indent=1)
        return 1 if self.missed else 0


UNITS = {'calls': 'us CPU', 'rtp': 'ns CPU'}
