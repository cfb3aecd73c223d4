import { z } from 'zod';
import { count, defineTemplate, label, link, moment } from './define.ts';

/** Chats that a digest names; the others are counted. */
const maxChats = 10;

const chat = z.object({ name: label(), messages: count, preview: label(500).optional() });

/** Messages that came in while somebody was away. */
const missedMessages = defineTemplate({
  name: 'missed-messages',
  data: z.object({ name: label(), since: moment, chats: z.array(chat).min(1).max(1_000), url: link }),
  example: {
    name: 'Ann',
    since: '2026-11-25T19:05:00Z',
    chats: [
      { name: 'Family', messages: 5, preview: 'Dinner on Sunday? I would cook.' },
      { name: 'Weekend trip', messages: 1, preview: 'The train leaves at 9:12.' },
      { name: 'אמא', messages: 1204 },
    ],
    url: 'https://chat.example/unread',
  },
  view: ({ name, since, chats, url }, { say, brand }) => {
    const total = chats.reduce((sum, { messages }) => sum + messages, 0);
    const more = chats.length - maxChats;
    return {
      subject: say('missedMessages.subject', { count: total, brand }),
      preheader: say('missedMessages.preheader', { chats: chats.length }),
      heading: say('missedMessages.heading', { count: total }),
      paragraphs: [[say('missedMessages.intro', { name, since })]],
      chats: chats.slice(0, maxChats).map((each) => ({
        name: each.name,
        count: say('missedMessages.unread', { count: each.messages }),
        preview: each.preview,
      })),
      action: { label: say('missedMessages.action'), url },
      ...(more > 0 ? { closing: [say('missedMessages.more', { count: more })] } : {}),
    };
  },
});

/** A week in figures. */
const weeklySummary = defineTemplate({
  name: 'weekly-summary',
  data: z.object({
    name: label(),
    from: moment,
    to: moment,
    sent: count,
    received: count,
    media: count,
    chats: z.array(chat).max(1_000).default([]),
    url: link,
  }),
  example: {
    name: 'Ann',
    from: '2026-11-16T12:00:00Z',
    to: '2026-11-22T12:00:00Z',
    sent: 84,
    received: 1312,
    media: 27,
    chats: [
      { name: 'Family', messages: 412 },
      { name: 'Weekend trip', messages: 96 },
    ],
    url: 'https://chat.example/',
  },
  view: ({ name, from, to, sent, received, media, chats, url }, { say, brand, number }) => ({
    subject: say('weeklySummary.subject', { brand }),
    preheader: say('weeklySummary.preheader', { sent }),
    heading: say('weeklySummary.heading', { name }),
    paragraphs: [[say('weeklySummary.intro', { from, to })]],
    figures: [
      { value: number(sent), label: say('weeklySummary.sent', { count: sent }) },
      { value: number(received), label: say('weeklySummary.received', { count: received }) },
      { value: number(media), label: say('weeklySummary.media', { count: media }) },
    ],
    chats: chats.slice(0, maxChats).map((each) => ({ name: each.name, count: say('missedMessages.unread', { count: each.messages }), preview: each.preview })),
    action: { label: say('weeklySummary.action', { brand }), url },
    closing: [say('weeklySummary.closing')],
  }),
});

/** An upload was processed. */
const mediaReady = defineTemplate({
  name: 'media-ready',
  data: z.object({ file: label(), url: link, pictureUrl: link.optional() }),
  example: { file: 'holiday.mov', url: 'https://chat.example/chats/42', pictureUrl: 'https://cdn.chat.example/media/holiday/poster.webp' },
  view: ({ file, url, pictureUrl }, { say }) => ({
    subject: say('mediaReady.subject', { file }),
    preheader: say('mediaReady.preheader'),
    heading: say('mediaReady.heading'),
    paragraphs: [[say('mediaReady.intro', { file })]],
    ...(pictureUrl === undefined ? {} : { picture: { url: pictureUrl, alt: say('mediaReady.picture', { file }) } }),
    action: { label: say('mediaReady.action'), url },
  }),
});

/** An upload could not be processed. */
const mediaFailed = defineTemplate({
  name: 'media-failed',
  data: z.object({ file: label(), reason: label(500).optional(), at: moment, url: link }),
  example: {
    file: 'a-very-long-name-of-a-recording-from-the-summer-holidays-2026.mov',
    reason: 'The file is damaged.',
    at: '2026-11-26T07:42:00Z',
    url: 'https://chat.example/chats/42',
  },
  view: ({ file, reason, at, url }, { say }) => ({
    subject: say('mediaFailed.subject', { file }),
    preheader: say('mediaFailed.preheader'),
    heading: say('mediaFailed.heading'),
    paragraphs: [[say('mediaFailed.intro')]],
    facts: [
      { label: say('mediaFailed.file'), value: file },
      ...(reason === undefined ? [] : [{ label: say('mediaFailed.reason'), value: reason }]),
      { label: say('mediaFailed.at'), value: say('moment', { at }) },
    ],
    action: { label: say('mediaFailed.action'), url },
  }),
});

/** Mails about what happens in the chats. */
export const activityTemplates = [missedMessages, weeklySummary, mediaReady, mediaFailed] as const;
