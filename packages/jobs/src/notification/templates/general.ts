import { z } from 'zod';
import { defineTemplate, label, link, moment, oneLine } from './define.ts';

/** Something that an operator must know. */
const adminAlert = defineTemplate({
  name: 'admin-alert',
  data: z.object({
    severity: z.enum(['critical', 'warning', 'info']),
    summary: label(),
    details: z.string().max(10_000).default(''),
    service: label(),
    at: moment,
    url: link.optional(),
  }),
  example: {
    severity: 'critical',
    summary: 'The media queue stands still',
    details: 'No job has ended for ten minutes, 1,204 wait.\nThe last error was: no space left on device.',
    service: 'media-worker',
    at: '2026-11-26T02:14:00Z',
    url: 'https://ops.chat.example/queues/media',
  },
  view: ({ severity, summary, details, service, at, url }, { say }) => ({
    subject: say('adminAlert.subject', { severity, summary }),
    preheader: say('adminAlert.preheader', { service, at }),
    heading: summary,
    paragraphs: paragraphsOf(details),
    facts: [
      { label: say('adminAlert.severity'), value: say('adminAlert.level', { severity }) },
      { label: say('adminAlert.service'), value: service },
      { label: say('adminAlert.at'), value: say('moment', { at }) },
    ],
    ...(url === undefined ? {} : { action: { label: say('adminAlert.action'), url } }),
  }),
});

/** Any title and body. */
const generic = defineTemplate({
  name: 'generic',
  data: z.object({ title: z.string().max(1_000), body: z.string().max(20_000) }),
  example: { title: 'Family', body: 'Dinner on Sunday?\nI would cook.\n\nMom' },
  view: ({ title, body }, { say }) => {
    const heading = oneLine(title);
    return {
      subject: heading === '' ? oneLine(body) || say('generic.subject') : heading,
      preheader: oneLine(body).slice(0, 150),
      heading,
      paragraphs: paragraphsOf(body),
    };
  },
});

/** Paragraphs of lines: an empty line parts paragraphs. */
function paragraphsOf(text: string): string[][] {
  const lines = text.split(/\r\n|\r|\n|\u2028|\u2029/).map((line) => line.replaceAll(/[^\P{Cc}\t]|[\u202a-\u202e\u2066-\u2069]/gu, ''));
  return lines
    .join('\n')
    .split(/\n{2,}/)
    .filter((paragraph) => paragraph !== '')
    .map((paragraph) => paragraph.split('\n'));
}

/** Mails for operators, and those of any content. */
export const generalTemplates = [adminAlert, generic] as const;
