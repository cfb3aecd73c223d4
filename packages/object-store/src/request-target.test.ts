import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRequestTarget } from './request-target.ts';

const at = (options: { bucket?: string; endpoint?: string }) => createRequestTarget({ region: 'eu-central-1', bucket: 'pictures', ...options });

test('AWS has the bucket in the host name, unless the name does not fit into one', () => {
  expect(at({})).toMatchObject({ secure: true, host: 'pictures.s3.eu-central-1.amazonaws.com', hostname: 'pictures.s3.eu-central-1.amazonaws.com' });
  expect(at({}).path('a/b')).toBe('/a/b');
  expect(at({}).path()).toBe('/');
  for (const bucket of ['media.example.com', 'Old_Name', 'x'.repeat(64)]) {
    expect(at({ bucket })).toMatchObject({ secure: true, host: 's3.eu-central-1.amazonaws.com' });
    expect(at({ bucket }).path('a')).toBe(`/${bucket}/a`);
  }
});

test.each([
  ['http://localhost:9000', { secure: false, host: 'localhost:9000', hostname: 'localhost', port: 9000 }, '/pictures/k'],
  ['http://localhost:9000/', { host: 'localhost:9000' }, '/pictures/k'],
  ['https://store.example/s3/v1//', { secure: true, host: 'store.example', port: undefined }, '/s3/v1/pictures/k'],
  ['http://[::1]:9000', { host: '[::1]:9000', hostname: '::1' }, '/pictures/k'],
])('the bucket of another store is in the path below %s', (endpoint, expected, path) => {
  expect(at({ endpoint })).toMatchObject(expected);
  expect(at({ endpoint }).path('k')).toBe(path);
});

test('a key is encoded once, segment by segment, and nothing in it is resolved', () => {
  expect(at({}).path("a b/+/~._-/!'()*/ü/%2F/?#&=")).toBe('/a%20b/%2B/~._-/%21%27%28%29%2A/%C3%BC/%252F/%3F%23%26%3D');
  expect(at({}).path('../a//b/./..')).toBe('/../a//b/./..');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (key) => {
      const path = at({}).path(key);
      expect(path).toMatch(/^\/(?:[A-Za-z0-9/._~-]|%[0-9A-F]{2})*$/);
      expect(decodeURIComponent(path)).toBe(`/${key}`);
    }),
  );
});
