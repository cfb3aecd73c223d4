import fc from 'fast-check';
import { expect, test } from 'vitest';
import { brandOf } from '../templates/index.ts';
import { renderMail as render } from './render.ts';

const brand = brandOf(undefined, undefined);
const renderMail = (fields: Parameters<typeof render>[0]) => render(fields, brand);

test('paragraphs and line breaks survive in both bodies', () => {
  const { subject, text, html } = renderMail({ title: 'Family', body: 'one\r\ntwo\n\nthree' });
  expect(subject).toBe('Family');
  expect(text).toBe('Family\n\none\ntwo\n\nthree\n');
  expect(html).toContain('one<br />two</p>');
  expect(html).toContain('>three</p>');
});

test('F-23: template syntax and HTML in user text come out as literal text', () => {
  const body = `{{constructor.constructor('return process')()}} \${7*7} <%= 7*7 %> <script>alert("x")</script> <img src=x onerror='y'> &amp;`;
  const { text, html } = renderMail({ title: '<b>"${7*7}"</b>', body });
  expect(text).toContain(body);
  expect(html).not.toMatch(/<script|<img|<b>|>49|=49/);
  expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;');
  expect(html).toContain('&lt;img src&#x3D;x onerror&#x3D;&#x27;y&#x27;&gt; &amp;amp;');
});

test('F-21: line breaks and control characters cannot leave the subject', () => {
  const { subject } = renderMail({ title: 'Hi\r\nBcc: eve@example.com\u2028\0x', body: '' });
  expect(subject).toBe('Hi Bcc: eve@example.com x');
});

test('a mail without a title takes its body for the subject', () => {
  expect(renderMail({ title: '', body: 'first\nsecond' }).subject).toBe('first second');
  expect(renderMail({ title: ' ', body: '' }).subject).toBe('Notification');
});

test('long subjects are cut between characters', () => {
  const { subject } = renderMail({ title: '👋'.repeat(300), body: '' });
  expect([...subject]).toHaveLength(200);
  expect(subject.endsWith('👋…')).toBe(true);
});

test('no text adds a tag or leaves its paragraph', { timeout: 30_000 }, () => {
  const tags = (html: string) =>
    [...html.matchAll(/<([a-z!/][^\s>]*)/g)].map((match) => match[1]).filter((tag) => tag !== 'br' && !tag?.startsWith('br/') && tag !== 'p' && tag !== '/p');
  const expected = tags(renderMail({ title: 'x', body: 'x' }).html);
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('<', '>', '&', '"', "'", 'p', '/', '!', '-', '\n', ' ') }),
      (noise, markup) => {
        expect(tags(renderMail({ title: `x${markup}`, body: `${noise}${markup}` }).html)).toEqual(expected);
      },
    ),
    { numRuns: 30 },
  );
});

test('an unknown template and data that does not fit are permanent, and name what is wrong without quoting it', () => {
  const fields = { title: 't', body: 'b' };
  expect(() => renderMail({ ...fields, template: '../../etc/passwd' })).toThrow(
    expect.objectContaining({ name: 'PermanentFailure', code: 'unknown_template' }),
  );
  const bad = () => renderMail({ ...fields, template: 'otp', templateData: { code: 'secret-code!', validMinutes: 10 } });
  expect(bad).toThrow(expect.objectContaining({ name: 'PermanentFailure', code: 'invalid_template_data' }));
  expect(bad).toThrow(/otp: code: /);
  expect(bad).not.toThrow(/secret-code/);
});
