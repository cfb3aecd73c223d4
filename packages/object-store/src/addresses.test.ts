import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createAddresses } from './addresses.ts';

const aws = createAddresses({ region: 'eu-central-1', bucket: 'pictures' });

test('every key survives the way to a URL and back', () => {
  const compatible = createAddresses({ region: 'auto', bucket: 'pictures', endpoint: 'http://localhost:9000/', publicBaseUrl: 'https://cdn.example/media/' });
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'binary' }), (key) => {
      fc.pre(key.isWellFormed());
      expect(aws.keyOf(aws.publicUrl(key))).toBe(key);
      expect(compatible.keyOf(compatible.publicUrl(key))).toBe(key);
    }),
  );
});

test('the addresses that a chat app may have stored are all understood', () => {
  for (const url of [
    'https://pictures.s3.eu-central-1.amazonaws.com/uploads/a%20b.jpg',
    'https://pictures.s3.amazonaws.com/uploads/a%20b.jpg?X-Amz-Signature=1',
    'https://s3.eu-central-1.amazonaws.com/pictures/uploads/a%20b.jpg',
    's3://pictures/uploads/a%20b.jpg#top',
  ]) {
    expect(aws.keyOf(url)).toBe('uploads/a b.jpg');
  }
});

test('a URL of somebody else has no key', () => {
  for (const url of [
    'https://example.com/uploads/a.jpg',
    'https://pictures.s3.eu-central-1.amazonaws.com.example.com/a',
    's3://pictures-2/a',
    's3://pictures/',
    'uploads/a.jpg',
    '',
    's3://pictures/%ff',
  ]) {
    expect(aws.keyOf(url)).toBeUndefined();
  }
});
