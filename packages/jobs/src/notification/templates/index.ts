export { type MailBrand, type MailBrands, brandOf, brandsSchema, brandsVariable } from './brand.ts';
export { type RenderProblem, type RenderedMail, mailTemplates, renderTemplate } from './render.ts';
export { catalogs } from './say.ts';
