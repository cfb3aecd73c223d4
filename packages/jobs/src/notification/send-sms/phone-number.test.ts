import { expect, test } from 'vitest';
import { parsePhoneNumber } from './phone-number.ts';

test('a national number needs a country to be read in', () => {
  expect(parsePhoneNumber('0151 12345678', 'DE')).toBe('+4915112345678');
  expect(parsePhoneNumber('+1 (500) 555-0006', 'DE')).toBe('+15005550006');
  expect(() => parsePhoneNumber('0151 12345678')).toThrow(expect.objectContaining({ code: 'invalid_phone_number' }));
});

test.each(['+499001234567', '+19002345678', '+449098790000'])('%s costs extra and is refused', (number) => {
  expect(() => parsePhoneNumber(number)).toThrow(expect.objectContaining({ code: 'premium_number' }));
});

test.each(['110', '+49110', '112'])('the short number %s is none to text to', (number) => {
  expect(() => parsePhoneNumber(number, 'DE')).toThrow(expect.objectContaining({ code: 'invalid_phone_number' }));
});
