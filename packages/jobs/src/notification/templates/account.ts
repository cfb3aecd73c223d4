import { z } from 'zod';
import { defineTemplate, label, link, moment } from './define.ts';

/** A new account. */
const welcome = defineTemplate({
  name: 'welcome',
  data: z.object({ name: label(), url: link }),
  example: { name: 'Ann', url: 'https://chat.example/start' },
  view: ({ name, url }, { say, brand }) => ({
    subject: say('welcome.subject', { brand }),
    preheader: say('welcome.preheader'),
    heading: say('welcome.heading', { name }),
    paragraphs: [[say('welcome.intro')]],
    action: { label: say('welcome.action', { brand }), url },
    closing: [say('welcome.closing')],
  }),
});

/** A forgotten password. */
const passwordReset = defineTemplate({
  name: 'password-reset',
  data: z.object({ name: label(), url: link, validUntil: moment }),
  example: { name: 'Ann', url: 'https://chat.example/reset?token=9f8c1d77e1b24c5e', validUntil: '2026-11-26T18:30:00Z' },
  view: ({ name, url, validUntil: until }, { say }) => ({
    subject: say('passwordReset.subject'),
    preheader: say('passwordReset.preheader', { until }),
    heading: say('passwordReset.heading'),
    paragraphs: [[say('passwordReset.intro', { name })]],
    action: { label: say('passwordReset.action'), url },
    closing: [say('passwordReset.valid', { until }), say('passwordReset.closing')],
  }),
});

/** A code for signing in or for confirming something. */
const otp = defineTemplate({
  name: 'otp',
  data: z.object({ code: z.string().regex(/^[0-9A-Z -]{4,12}$/, 'expected 4 to 12 digits or capital letters'), validMinutes: z.int().min(1).max(1_440) }),
  example: { code: '482 913', validMinutes: 10 },
  view: ({ code, validMinutes: minutes }, { say, brand }) => ({
    subject: say('otp.subject', { code }),
    preheader: say('otp.preheader', { minutes }),
    heading: say('otp.heading'),
    paragraphs: [[say('otp.intro')]],
    code,
    closing: [say('otp.valid', { minutes }), say('otp.closing', { brand })],
  }),
});

/** The account was used on a device that is new. */
const newSignIn = defineTemplate({
  name: 'new-sign-in',
  data: z.object({ name: label(), device: label(), place: label().optional(), ip: z.union([z.ipv4(), z.ipv6()]).optional(), at: moment, url: link }),
  example: {
    name: 'Ann',
    device: 'Firefox on Linux',
    place: 'Hamburg, Germany',
    ip: '203.0.113.7',
    at: '2026-11-26T07:42:00Z',
    url: 'https://chat.example/devices',
  },
  view: ({ name, device, place, ip, at, url }, { say }) => ({
    subject: say('newSignIn.subject'),
    preheader: say('newSignIn.preheader', { device, at }),
    heading: say('newSignIn.heading'),
    paragraphs: [[say('newSignIn.intro', { name })]],
    facts: [
      { label: say('newSignIn.device'), value: device },
      ...(place === undefined ? [] : [{ label: say('newSignIn.place'), value: place }]),
      { label: say('newSignIn.at'), value: say('moment', { at }) },
      ...(ip === undefined ? [] : [{ label: say('newSignIn.ip'), value: ip }]),
    ],
    action: { label: say('newSignIn.action'), url },
    closing: [say('newSignIn.closing')],
  }),
});

/** Mails about somebody's account. */
export const accountTemplates = [welcome, passwordReset, otp, newSignIn] as const;
