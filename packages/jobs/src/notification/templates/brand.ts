import { text } from '@backhaul/runtime';
import { z } from 'zod';

const colour = z.string().regex(/^#[0-9a-f]{6}$/i, 'expected a colour such as #1f6feb');
const httpsUrl = z.url({ protocol: /^https$/, error: 'expected an https:// URL' }).max(2_000);
/** One line: it becomes a header. */
const line = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^\P{Cc}*$/u, 'expected one line');

/** What a mail shows of who sends it. */
const brandSchema = z.strictObject({
  /** The app's name, as its people know it. */
  name: line,
  /** The name beside the sender's address; that of SMTP_FROM if not given. */
  senderName: line.optional(),
  /** A picture about 264 pixels wide, shown at half of that; the name if not given. */
  logoUrl: httpsUrl.optional(),
  /** Of buttons and the line at the top. */
  color: colour.default('#1f6feb'),
  /** Postal address in the footer. */
  address: z.string().trim().max(300).optional(),
  supportUrl: httpsUrl.optional(),
});

/** The looks of mails by tenant; `default` is for events without a tenant, and for tenants that have none of their own. */
export const brandsSchema = z.record(z.string().min(1).max(100), brandSchema);

/** The same as JSON in a variable. */
export function brandsVariable() {
  return text().transform((value, context) => {
    let json: unknown;
    try {
      json = JSON.parse(value);
    } catch {
      context.addIssue('expected JSON such as {"default":{"name":"Chat","color":"#1f6feb"}}');
      return z.NEVER;
    }
    const parsed = brandsSchema.safeParse(json);
    if (parsed.success) return parsed.data;
    context.addIssue(parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
    return z.NEVER;
  });
}

/** What a mail shows of who sends it. */
export type MailBrand = z.output<typeof brandSchema>;

/** The looks by tenant. */
export type MailBrands = z.output<typeof brandsSchema>;

const unbranded: MailBrand = { name: 'Chat', color: '#1f6feb' };

/** The look of a tenant's mails. */
export function brandOf(brands: MailBrands | undefined, tenant: string | undefined): MailBrand {
  const own = tenant !== undefined && brands !== undefined && Object.hasOwn(brands, tenant) ? brands[tenant] : undefined;
  return own ?? brands?.['default'] ?? unbranded;
}

/** Black or white, whichever can be read better on this colour (relative luminance of WCAG 2). */
export function readableOn(color: string): '#ffffff' | '#111418' {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  // Contrast alone would turn at 0.18; white on a strong colour still has 3.5:1 at 0.25, and is what people expect of a button.
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.25 ? '#111418' : '#ffffff';
}
