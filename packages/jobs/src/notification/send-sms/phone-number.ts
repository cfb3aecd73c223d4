import { PermanentFailure } from '@backhaul/queue/job';
import { type CountryCode, parsePhoneNumberFromString } from 'libphonenumber-js/max';

/**
 * The number in E.164.
 *
 * Only the length for its country is checked (`isPossible`): tables of
 * assigned ranges age, and refusing a new range would lose messages that the
 * provider could deliver. A range that is known to be charged to who is
 * texted, or to who texts, is refused: fraud asks for codes there.
 *
 * @param defaultCountry whose numbers may be written without the plus sign; none if not given, because it would be a guess
 * @throws {PermanentFailure} `invalid_phone_number` or `premium_number`
 */
export function parsePhoneNumber(input: string, defaultCountry?: CountryCode): string {
  const text = input.trim();
  // By default the library picks a number out of any text around it.
  const number =
    text.startsWith('+') || defaultCountry !== undefined
      ? parsePhoneNumberFromString(text, { extract: false, ...(defaultCountry === undefined ? {} : { defaultCountry }) })
      : undefined;
  if (number?.isPossible() !== true || number.ext !== undefined)
    throw new PermanentFailure('invalid_phone_number', 'the phone number is not in international form (E.164) such as +4915112345678');
  const type = number.getType();
  if (type === 'PREMIUM_RATE' || type === 'SHARED_COST')
    throw new PermanentFailure('premium_number', 'the phone number belongs to a range with charges of its own: no text message is sent there');
  return number.number;
}
