import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import { text } from 'node:stream/consumers';
import type { FakeTraffic } from './client.ts';
import type { EffectLog } from './effect-log.ts';
import type { FakeService, Rule, RuleBook } from './rules.ts';

/** One fake as the control port sees it. */
export type ControlledFake = { rules: RuleBook; traffic: () => FakeTraffic };

/** The HTTP server through which tests script the fakes and read their effects; see FakesClient. */
export function controlPort(fakes: Record<FakeService, ControlledFake>, log: EffectLog): Server {
  let lastId = 0;

  async function answer(request: IncomingMessage): Promise<unknown> {
    const url = new URL(request.url ?? '/', 'http://control');
    const [, what = '', service = ''] = url.pathname.split('/');
    const { after = '0', waitMs = '0', id, ...filter } = Object.fromEntries(url.searchParams);
    switch (`${request.method} ${what}`) {
      case 'GET ready':
        return {};
      case 'GET traffic':
        return Object.fromEntries(Object.entries(fakes).map(([name, fake]) => [name, fake.traffic()]));
      case 'GET effects':
        return log.waitFor(filter, Number(after), Number(waitMs));
      case 'POST reset':
        for (const fake of Object.values(fakes)) fake.rules.remove();
        log.clear();
        return {};
      case 'POST script': {
        const rules: unknown = JSON.parse(await text(request));
        if (!Array.isArray(rules)) throw new Error('a script is an array of rules');
        rulesOf(service).add(++lastId, rules as Rule[]);
        return { id: lastId };
      }
      case 'DELETE script':
        rulesOf(service).remove(Number(id));
        return {};
      default:
        throw new Error(`no such request: ${request.method} ${url.pathname}`);
    }
  }

  function rulesOf(service: string): RuleBook {
    if (!Object.hasOwn(fakes, service)) throw new Error(`no fake named "${service}"; there are ${Object.keys(fakes).join(', ')}`);
    return fakes[service as FakeService].rules;
  }

  return createServer((request, response) => {
    answer(request).then(
      (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value)),
      (error: unknown) => response.writeHead(400).end(String(error)),
    );
  });
}
